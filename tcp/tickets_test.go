package tcp_test

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// resumer is a client that has a session.
func resumer(t *testing.T, s *tcptest.Server, version uint16) *tls.Config {
	t.Helper()
	cfg := &tls.Config{
		ServerName: "first", InsecureSkipVerify: true, MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	if resumes(t, s, cfg) {
		t.Error("a session is resumed before it was made")
	}
	return cfg
}

// resumes makes a handshake, and reports whether the client's session was resumed. A client
// gets a new ticket from each.
func resumes(t *testing.T, s *tcptest.Server, cfg *tls.Config) bool {
	t.Helper()
	conn, err := knock(t, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().DidResume
}

// Keys change every 12 hours, and tickets are good for a day longer at least.
func TestTicketKeysRotate(t *testing.T) {
	for name, version := range bothVersions {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serveInMemory(t, tlsFiles(t, testutil.NewAuthority(t)))
				var clients []*tls.Config
				for range 4 {
					clients = append(clients, resumer(t, s, version))
				}
				want := func(client int, is bool) {
					t.Helper()
					if got := resumes(t, s, clients[client]); got != is {
						t.Errorf("client %d resumes: %v, want %v", client, got, is)
					}
				}
				time.Sleep(12*time.Hour - time.Second)
				want(0, true) // still with the first key
				time.Sleep(2 * time.Second)
				want(1, true) // there is a new key, and the old one is known
				time.Sleep(24*time.Hour - 2*time.Second)
				want(2, true)
				time.Sleep(2 * time.Second)
				want(3, false) // the first key is forgotten
				want(1, true)  // has a ticket of the second key
			})
		})
	}
}

// A server that nobody has called for long does not take tickets of old keys.
func TestTicketKeysOfAnIdleServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, tlsFiles(t, testutil.NewAuthority(t)))
		client := resumer(t, s, 0)
		time.Sleep(37 * time.Hour)
		if resumes(t, s, client) {
			t.Error("a ticket of an old key is taken")
		}
	})
}

// Tickets outlive a new certificate and new authorities.
func TestTicketsSurviveReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		cfg := tlsFiles(t, a)
		var log journal
		cfg.Log = log.logger()
		s := serveInMemory(t, cfg)
		client := resumer(t, s, 0)
		for i := range 3 {
			newCertificate(t, a, &cfg.TLS, "first")
			time.Sleep(time.Second)
			if !resumes(t, s, client) {
				t.Errorf("reload %d: the session is not resumed", i+1)
			}
			if n := len(log.find("certificates reloaded")); n != i+1 {
				t.Errorf("%d reloads, want %d", n, i+1)
			}
		}
	})
}

// Two servers with the same files have keys of their own.
func TestTicketsAreOfOneServer(t *testing.T) {
	cfg := tlsFiles(t, testutil.NewAuthority(t))
	s, other := start(t, cfg, echo()), start(t, cfg, echo())
	if resumes(t, other, resumer(t, s, 0)) {
		t.Error("a ticket of another server is taken")
	}
}

// A configuration of the program's own keeps its callbacks and its ticket keys.
func TestOwnTLSConfigKeepsItsTickets(t *testing.T) {
	a := testutil.NewAuthority(t)
	cert, err := tls.X509KeyPair(a.Issue(t, "first"))
	if err != nil {
		t.Fatal(err)
	}
	keys := [][32]byte{{1}}
	serve := func(cfg *tls.Config) *tcptest.Server {
		cfg.SetSessionTicketKeys(keys)
		s := tcptest.NewUnstartedServer(echo())
		s.TCP.TLSConfig = cfg
		s.Serve(tcptest.Listen())
		t.Cleanup(s.Close)
		return s
	}
	got := make(chan string, 10)
	first := &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			got <- "GetCertificate " + hello.ServerName
			return &cert, nil
		},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			got <- "GetConfigForClient " + hello.ServerName
			return nil, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			got <- "VerifyConnection " + state.ServerName
			return nil
		},
	}
	s, other := serve(first), serve(&tls.Config{Certificates: []tls.Certificate{cert}})
	client := resumer(t, s, 0)
	for _, want := range []string{"GetConfigForClient first", "GetCertificate first", "VerifyConnection first"} {
		if call := testutil.Await(t, want, got); call != want {
			t.Errorf("call of %s, want %s", call, want)
		}
	}
	if !resumes(t, other, client) {
		t.Error("the shared keys are not used")
	}
	first.SetSessionTicketKeys([][32]byte{{2}}) // while it serves
	if resumes(t, s, client) {
		t.Error("the old key is used")
	}
}
