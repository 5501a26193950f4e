package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
	"wireline/tcptest"
)

// reconfigure demands that srv takes cfg.
func reconfigure(t *testing.T, srv *tcp.Server, change func(cfg *tcp.Config)) {
	t.Helper()
	cfg := srv.Settings()
	change(&cfg)
	if err := srv.Reconfigure(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// inBubble runs test with a server in memory.
func inBubble(t *testing.T, cfg tcp.Config, h handler.Handler, test func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: h, Config: cfg}
		result := serve(t.Context(), t, srv, ln)
		test(t, srv, ln)
		shutdown(t, srv)
		result()
		if n := srv.Stats().Active; n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// from connects in memory from an address.
func from(t *testing.T, ln *tcptest.Listener, ip string) net.Conn {
	t.Helper()
	conn, err := ln.DialFrom(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// An accept loop that waits for a place notices a higher limit, and that clients are to be
// refused. No client has to go.
func TestReconfigureMaxClients(t *testing.T) {
	inBubble(t, tcp.Config{MaxClients: 1}, greeting(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
		var conns []net.Conn
		for range 5 {
			conns = append(conns, join(t, ln))
		}
		if !welcomed(t, conns[0]) || welcomed(t, conns[1]) {
			t.Fatal("the limit is not 1")
		}
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.MaxClients = 3 })
		if !welcomed(t, conns[1]) || !welcomed(t, conns[2]) || welcomed(t, conns[3]) {
			t.Error("the limit is not 3")
		}
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.WhenFull = tcp.FullRefuse })
		receiveReset(t, conns[3])
		receiveReset(t, conns[4])
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.MaxClients, cfg.WhenFull = 1, tcp.FullWait })
		for _, conn := range conns[:3] {
			exchange(t, conn, "still here\n")
		}
		late := join(t, ln)
		conns[0].Close()
		conns[1].Close()
		if welcomed(t, late) {
			t.Error("one is left, and the limit is 1")
		}
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.MaxClients = 0 })
		if !welcomed(t, late) {
			t.Error("without a limit a client waits")
		}
	})
}

// Limits of addresses and networks come and go, and change, while clients are there. Counts never
// go wrong, whenever a client leaves.
func TestReconfigureLimitsOfAddresses(t *testing.T) {
	const a, b = "2001:db8:0:1::1", "2001:db8:0:2::1" // one /48, two /64
	for name, limit := range map[string]func(cfg *tcp.Config, n int){
		"address": func(cfg *tcp.Config, n int) { cfg.MaxClientsPerIP = n },
		"network": func(cfg *tcp.Config, n int) { cfg.MaxClientsPerPrefix = n },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tcp.Config{}, greeting(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
				set := func(n int) { reconfigure(t, srv, func(cfg *tcp.Config) { limit(cfg, n) }) }
				uncounted := from(t, ln, a)
				receive(t, uncounted, "welcome\n")
				set(1)
				counted := from(t, ln, a)
				receive(t, counted, "welcome\n")
				receiveReset(t, from(t, ln, a))
				uncounted.Close() // it was not counted
				synctest.Wait()
				receiveReset(t, from(t, ln, a))
				set(2)
				second := from(t, ln, a)
				receive(t, second, "welcome\n")
				receiveReset(t, from(t, ln, a))
				set(0)
				for range 3 {
					receive(t, from(t, ln, a), "welcome\n")
				}
				counted.Close()
				synctest.Wait()
				set(1)
				receiveReset(t, from(t, ln, a)) // the second one is still counted
				second.Close()
				synctest.Wait()
				third := from(t, ln, a)
				receive(t, third, "welcome\n")
				receiveReset(t, from(t, ln, a))
				third.Close()
				synctest.Wait()
				receive(t, from(t, ln, a), "welcome\n")
			})
		})
	}
	// Networks of another size.
	inBubble(t, tcp.Config{MaxClientsPerPrefix: 1, MaxClientsPerIP: 2}, greeting(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
		first := from(t, ln, a)
		receive(t, first, "welcome\n")
		receive(t, from(t, ln, b), "welcome\n")
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.PrefixV6 = 48 })
		second := from(t, ln, a)
		receive(t, second, "welcome\n")
		receiveReset(t, from(t, ln, b))
		first.Close()
		synctest.Wait()
		receiveReset(t, from(t, ln, b))
		second.Close()
		synctest.Wait()
		receive(t, from(t, ln, b), "welcome\n")
		receiveReset(t, from(t, ln, b)) // its address is still counted
		if st := srv.Stats(); st.RefusedPerPrefix != 2 || st.RefusedPerIP != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestReconfigureAllowAndDeny(t *testing.T) {
	inBubble(t, tcp.Config{}, greeting(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
		here := from(t, ln, "192.0.2.1")
		receive(t, here, "welcome\n")
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.Deny = []string{"192.0.2.0/24"} })
		receiveReset(t, from(t, ln, "192.0.2.1"))
		exchange(t, here, "still here\n")
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.Deny, cfg.Allow = nil, []string{"192.0.2.1"} })
		receive(t, from(t, ln, "192.0.2.1"), "welcome\n")
		receiveReset(t, from(t, ln, "198.51.100.1"))
	})
}

// An accept loop that waits because of the rate notices another rate.
func TestReconfigureAcceptRate(t *testing.T) {
	inBubble(t, tcp.Config{AcceptRate: 1. / 3600}, greeting(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
		if one, two := join(t, ln), join(t, ln); !welcomed(t, one) || welcomed(t, two) {
			t.Fatal("the rate is not one an hour")
		} else if reconfigure(t, srv, func(cfg *tcp.Config) { cfg.MaxClients = 100 }); welcomed(t, two) {
			t.Error("the rate has changed")
		} else if reconfigure(t, srv, func(cfg *tcp.Config) { cfg.AcceptRate = 1000 }); !welcomed(t, two) {
			t.Error("the rate has not changed")
		}
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.AcceptRate = 1. / 3600 })
		join(t, ln) // the loop has looked at the rate already
		join(t, ln) // the first one an hour
		if late := join(t, ln); welcomed(t, late) {
			t.Error("the rate is not one an hour")
		}
	})
}

// A client that waits for the rate is not made to wait longer by changes of something else.
func TestReconfigureWhileTheRateIsWaitedFor(t *testing.T) {
	inBubble(t, tcp.Config{AcceptRate: 1. / 3600}, greeting(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
		if one := join(t, ln); !welcomed(t, one) {
			t.Fatal("the first one is not served")
		}
		began, two := time.Now(), join(t, ln)
		two.SetReadDeadline(began.Add(24 * time.Hour))
		for n := range 5 {
			time.Sleep(time.Minute)
			reconfigure(t, srv, func(cfg *tcp.Config) { cfg.MaxClients = 100 + n })
		}
		receive(t, two, "welcome\n")
		if took := time.Since(began); took > 61*time.Minute {
			t.Errorf("the second one waited for %v", took)
		}
	})
}

// A connection that waits for its header goes on as it began; a later one has other rules.
func TestReconfigureProxyProtocol(t *testing.T) {
	const header = "PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n"
	cfg := tcp.Config{ProxyProtocol: tcp.ProxyProtocolRequired, ProxyProtocolTrusted: []string{"192.0.2.0/24"}, ProxyHeaderTimeout: time.Minute}
	inBubble(t, cfg, whoami(), func(t *testing.T, srv *tcp.Server, ln *tcptest.Listener) {
		begun, silent := from(t, ln, "192.0.2.1"), from(t, ln, "192.0.2.1")
		synctest.Wait()
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.ProxyProtocol, cfg.ProxyHeaderTimeout = "", time.Second })
		send(t, begun, header)
		receive(t, begun, "203.0.113.7:1 to 198.51.100.1:2, 0 TLVs\n")
		later := from(t, ln, "192.0.2.1")
		receive(t, later, "192.0.2.1:")
		reconfigure(t, srv, func(cfg *tcp.Config) {
			cfg.ProxyProtocol, cfg.ProxyProtocolTrusted = tcp.ProxyProtocolOptional, []string{"198.51.100.0/24"}
		})
		receive(t, from(t, ln, "192.0.2.1"), "192.0.2.1:") // not trusted any more
		other := from(t, ln, "198.51.100.9")
		send(t, other, header)
		receive(t, other, "203.0.113.7:1 to 198.51.100.1:2, 0 TLVs\n")
		began := time.Now()
		receiveReset(t, silent)
		if took := time.Since(began); took < 50*time.Second {
			t.Errorf("the timeout of one that waits has changed: it took %v", took)
		}
	})
}

func TestReconfigureHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}}
		srv.HandshakeTimeout = time.Minute
		result := serve(t.Context(), t, srv, ln)
		old := join(t, ln)
		synctest.Wait()
		reconfigure(t, srv, func(cfg *tcp.Config) { cfg.HandshakeTimeout, cfg.TLS.MaxHandshakes = time.Second, 3 })
		began := time.Now()
		receiveAll(t, join(t, ln), "")
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("a new handshake fails after %v", took)
		}
		receiveAll(t, old, "")
		if took := time.Since(began); took < 50*time.Second {
			t.Errorf("an old one after %v", took)
		}
		shutdown(t, srv)
		result()
	})
}

// running runs srv on the address of its Config, until the test's end at the latest.
func running(t *testing.T, srv *tcp.Server) (addr string, result func() error) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe(t.Context()) }()
	t.Cleanup(func() { srv.Close() })
	eventually(t, "the server", func() bool { return len(srv.Addrs()) == 1 })
	return srv.Addrs()[0].String(), func() error { return testutil.Await(t, "the end of ListenAndServe", served) }
}

// handlersOfAllKinds serve clients on an event loop, and in a goroutine.
func handlersOfAllKinds() map[string]func() handler.Handler {
	return map[string]func() handler.Handler{
		"frames": func() handler.Handler { return echo() },
		"plain": func() handler.Handler {
			return handler.Func(func(_ context.Context, conn net.Conn) { io.Copy(conn, conn) })
		},
	}
}

// TLS is turned on and off, and gets other certificates. Clients that are there notice nothing.
func TestReconfigureTLS(t *testing.T) {
	a := testutil.NewAuthority(t)
	first, second := tlsFiles(t, a).TLS, tlsFiles(t, a).TLS
	newCertificate(t, a, &second, "second")
	for name, newHandler := range handlersOfAllKinds() {
		t.Run(name, func(t *testing.T) {
			srv := &tcp.Server{Handler: newHandler(), Config: tcp.Config{Address: "127.0.0.1:0"}}
			addr, result := running(t, srv)
			var conns []net.Conn
			connect := func(certificate string) {
				t.Helper()
				conn := dial(t, "tcp", addr)
				if certificate != "" {
					conn = mustDialTLS(t, addr, a.Client(certificate))
				}
				exchange(t, conn, "hello\n")
				conns = append(conns, conn)
			}
			connect("")
			for range 3 {
				reconfigure(t, srv, func(cfg *tcp.Config) { cfg.TLS = first })
				connect("first")
				connect("first")
				reconfigure(t, srv, func(cfg *tcp.Config) { cfg.TLS = second })
				connect("second")
				connect("second")
				reconfigure(t, srv, func(cfg *tcp.Config) { cfg.TLS = tcp.TLSFiles{} })
				connect("")
				connect("")
			}
			for _, conn := range conns {
				exchange(t, conn, "still here\n")
			}
			cfg := srv.Settings()
			cfg.TLS = tcp.TLSFiles{Cert: "missing", Key: "missing"}
			if err := srv.Reconfigure(t.Context(), cfg); !strings.Contains(errorText(err), "TLS.Cert") {
				t.Errorf("missing files: %v", err)
			}
			connect("")
			for _, conn := range conns {
				conn.Close()
			}
			shutdown(t, srv)
			result()
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Sessions are resumed with other certificates, and after a time without TLS.
func TestReconfigureKeepsTickets(t *testing.T) {
	a := testutil.NewAuthority(t)
	for name, version := range bothVersions {
		t.Run(name, func(t *testing.T) {
			s := start(t, tlsFiles(t, a), greeting())
			client := resumer(t, s, version)
			if !resumes(t, s, client) {
				t.Fatal("no session is resumed")
			}
			before := s.TCP.Settings()
			reconfigure(t, s.TCP, func(cfg *tcp.Config) { *cfg = tlsFiles(t, a) })
			if !resumes(t, s, client) {
				t.Error("not with other files")
			}
			reconfigure(t, s.TCP, func(cfg *tcp.Config) { cfg.TLS = tcp.TLSFiles{} })
			reconfigure(t, s.TCP, func(cfg *tcp.Config) { *cfg = before })
			if !resumes(t, s, client) {
				t.Error("not after a time without TLS")
			}
		})
	}
}

// Another MaxBuffered is for new clients. What the others keep still counts in Stats.
func TestReconfigureMaxBuffered(t *testing.T) {
	s := start(t, tcp.Config{MaxBuffered: 1 << 20}, echo())
	half := strings.Repeat("x", 5000)
	holding := func() net.Conn {
		t.Helper()
		before := s.TCP.Stats().Buffered
		conn := s.Dial()
		send(t, conn, half)
		eventually(t, "half a line", func() bool { return s.TCP.Stats().Buffered >= before+int64(len(half)) })
		return conn
	}
	old := holding()
	defer old.Close()
	reconfigure(t, s.TCP, func(cfg *tcp.Config) { cfg.MaxBuffered = 1 << 19 })
	runtime.GC() // the old budget stays while it has clients
	next := holding()
	defer next.Close()
	reconfigure(t, s.TCP, func(cfg *tcp.Config) { cfg.MaxBuffered = 1000 })
	late := s.Dial()
	defer late.Close()
	send(t, late, half)
	receiveReset(t, late)
	for _, conn := range []net.Conn{old, next} {
		send(t, conn, "y\n")
		receive(t, conn, half+"y\n")
	}
	eventually(t, "nothing", func() bool { return s.TCP.Stats().Buffered == 0 })
}

// The server writes to the new log from now on.
func TestReconfigureLog(t *testing.T) {
	var before, after journal
	h := &handler.Frames{OnFrame: func(*handler.Client, []byte) error { panic("as asked") }}
	s := start(t, tcp.Config{Log: before.logger()}, h)
	provoke := func() {
		conn := s.Dial()
		defer conn.Close()
		send(t, conn, "hello\n")
		conn.Read(make([]byte, 1))
	}
	provoke()
	eventually(t, "a line", func() bool { return len(before.find("handler panicked")) == 1 })
	reconfigure(t, s.TCP, func(cfg *tcp.Config) { cfg.Log = after.logger() })
	provoke()
	eventually(t, "a line in the new log", func() bool { return len(after.find("handler panicked")) == 1 })
	if n := len(before.find("handler panicked")); n != 1 {
		t.Errorf("%d lines in the old log", n)
	}
}

// So does what reads the files of TLS, though they stay the same.
func TestReconfigureLogOfTLS(t *testing.T) {
	var before, after journal
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	cfg.Log = before.logger()
	s := start(t, cfg, greeting())
	mustDialTLS(t, s.Addr, a.Client("first"))
	reconfigure(t, s.TCP, func(cfg *tcp.Config) { cfg.Log = after.logger() })
	newCertificate(t, a, &cfg.TLS, "second")
	eventually(t, "a line in the new log", func() bool {
		conn, err := dialTLS(t, s.Addr, a.Client("second"))
		conn.Close()
		return err == nil && len(after.find("certificates reloaded")) > 0
	})
	if n := len(before.find("certificates reloaded")); n != 0 {
		t.Errorf("%d lines in the old log", n)
	}
}

// What cannot change stays, and is no error. A configuration that is not valid changes nothing.
func TestReconfigureFixed(t *testing.T) {
	srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{Address: "127.0.0.1:0"}}
	addr, _ := running(t, srv)
	reconfigure(t, srv, func(cfg *tcp.Config) {
		cfg.Network, cfg.MaxClients, cfg.WhenFull = "tcp4", 1, tcp.FullRefuse
	})
	if cfg := srv.Settings(); cfg.Network != "" || cfg.MaxClients != 1 {
		t.Errorf("%+v", cfg)
	}
	if srv.MaxClients != 0 {
		t.Error("Server.Config has changed")
	}
	cfg := srv.Settings()
	cfg.MaxClients, cfg.Deny = 7, []string{"everybody"}
	var bad *field.Error
	if err := srv.Reconfigure(t.Context(), cfg); !errors.As(err, &bad) || bad.Field != "Deny" {
		t.Errorf("error %v", err)
	}
	receive(t, dial(t, "tcp", addr), "welcome\n")
	if conn, err := net.Dial("tcp", addr); err == nil { // else it was reset already
		conn.SetDeadline(time.Now().Add(patience))
		receiveReset(t, conn)
		conn.Close()
	}
}

func TestReconfigureAfterTheStop(t *testing.T) {
	srv := &tcp.Server{Name: "one"}
	if err := srv.Reconfigure(t.Context(), tcp.Config{MaxClients: 3}); err != nil || srv.Settings().MaxClients != 3 {
		t.Errorf("before the start: %v, %+v", err, srv.Settings())
	}
	shutdown(t, srv)
	err := srv.Reconfigure(t.Context(), tcp.Config{})
	if !errors.Is(err, tcp.ErrServerClosed) || !strings.HasPrefix(err.Error(), "service one: ") || srv.Settings().MaxClients != 3 {
		t.Errorf("after the stop: %v", err)
	}
}

// A server changes its address: clients that are there stay, ListenAndServe goes on.
func TestReconfigureAddress(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			skipUnixOnWindows(t, network)
			var j journal
			listens := func() tcp.Config {
				cfg := tcp.Config{Network: network, Address: "127.0.0.1:0", Log: j.logger()}
				if network == "unix" {
					cfg.Address = testutil.SocketPath(t)
				}
				return cfg
			}
			srv := &tcp.Server{Handler: echo(), Config: listens()}
			first, result := running(t, srv)
			old := dial(t, network, first)
			exchange(t, old, "hello\n")
			cfg := listens()
			if network == "tcp" {
				cfg.Address = "127.0.0.1:" + freePort(t)
			}
			if err := srv.Reconfigure(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			addrs := srv.Addrs()
			if len(addrs) != 1 || addrs[0].String() != cfg.Address || !srv.Ready() {
				t.Errorf("%v, ready: %v", addrs, srv.Ready())
			}
			exchange(t, dial(t, network, cfg.Address), "hello\n")
			exchange(t, old, "still here\n")
			eventually(t, "the end of the old listener", func() bool { return len(j.find("listener closed")) == 1 })
			if lines := j.find("listener closed"); lines[0]["addr"] != first {
				t.Errorf("%v", lines)
			}
			eventually(t, "its address", func() bool {
				conn, err := net.Dial(network, first)
				if err == nil {
					conn.Close()
				}
				return err != nil
			})
			if lines := j.find("listening"); len(lines) != 2 || lines[1]["addr"] != cfg.Address {
				t.Errorf("%v", lines)
			}
			if network == "unix" {
				if _, err := os.Stat(cfg.Address); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(first); err == nil {
					t.Error("the old file is still there")
				}
			}
			// And back.
			back := srv.Config
			if network == "tcp" {
				back.Address = first
			}
			if err := srv.Reconfigure(t.Context(), back); err != nil {
				t.Fatal(err)
			}
			exchange(t, dial(t, network, first), "hello\n")
			shutdown(t, srv)
			receiveAll(t, old, "")
			if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
				t.Errorf("ListenAndServe: %v", err)
			}
		})
	}
}

// skipUnixOnWindows skips a test of unix sockets where not every system has them.
func skipUnixOnWindows(t *testing.T, network string) {
	t.Helper()
	if network == "unix" && runtime.GOOS == "windows" {
		t.Skip("not every Windows has unix sockets")
	}
}

// From TCP to a unix socket, and back.
func TestReconfigureNetwork(t *testing.T) {
	skipUnixOnWindows(t, "unix")
	srv := &tcp.Server{Handler: echo(), Config: tcp.Config{Address: "127.0.0.1:0"}}
	first, _ := running(t, srv)
	old := dial(t, "tcp", first)
	exchange(t, old, "hello\n")
	path := filepath.Join(t.TempDir(), "s")
	reconfigure(t, srv, func(cfg *tcp.Config) { cfg.Network, cfg.Address = "unix", path })
	overUnix := dial(t, "unix", path)
	exchange(t, overUnix, "hello\n")
	reconfigure(t, srv, func(cfg *tcp.Config) { cfg.Network, cfg.Address = "", "127.0.0.1:0" })
	exchange(t, dialServer(t, srv), "hello\n")
	exchange(t, old, "still here\n")
	exchange(t, overUnix, "still here\n")
}

// An address that cannot be bound changes nothing.
func TestReconfigureToAnAddressInUse(t *testing.T) {
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0").Addr().String()
	path := testutil.SocketPath(t)
	if runtime.GOOS != "windows" {
		testutil.Listen(t, "unix", path)
	}
	port := freePort(t)
	for name, test := range map[string]struct {
		from, to      tcp.Config
		want, because string
	}{
		"taken":       {tcp.Config{Address: "127.0.0.1:" + port}, tcp.Config{Address: taken}, "tcp.address: ", "bind: "},
		"taken, unix": {tcp.Config{Address: "127.0.0.1:" + port}, tcp.Config{Network: "unix", Address: path}, "tcp.address: ", "bind: "},
		"wider":       {tcp.Config{Address: "127.0.0.1:" + port}, tcp.Config{Address: ":" + port}, "tcp.address: :" + port, "overlaps 127.0.0.1:" + port},
		"narrower":    {tcp.Config{Network: "tcp4", Address: ":" + port}, tcp.Config{Address: "127.0.0.1:" + port}, "tcp.address: 127.0.0.1:" + port, "overlaps :" + port},
	} {
		t.Run(name, func(t *testing.T) {
			skipUnixOnWindows(t, test.to.Network)
			var j journal
			test.from.Log, test.to.Log = j.logger(), j.logger()
			srv := &tcp.Server{Handler: greeting(), Config: test.from}
			running(t, srv)
			test.to.MaxClients = 7
			err := srv.Reconfigure(t.Context(), test.to)
			var bad *field.Error
			if text := errorText(err); !strings.HasPrefix(text, test.want) || !strings.Contains(text, test.because) {
				t.Errorf("error %q", text)
			} else if !errors.As(err, &bad) || bad.Field != "Address" {
				t.Errorf("the field is %+v", bad)
			}
			if cfg := srv.Settings(); cfg.Address != test.from.Address || cfg.MaxClients != 0 {
				t.Errorf("%+v", cfg)
			}
			receive(t, dial(t, "tcp", "127.0.0.1:"+port), "welcome\n")
			if n := len(j.find("listening")); n != 1 {
				t.Errorf("%d lines", n)
			}
			shutdown(t, srv)
		})
	}
}

// A client that waits in the queue of the old listener, because the server is full, is served when
// there is a place. Meanwhile the new listener is open.
func TestReconfigureAddressOfAFullServer(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			skipUnixOnWindows(t, network)
			listens := func() tcp.Config {
				if network == "unix" {
					return tcp.Config{Network: network, Address: testutil.SocketPath(t), MaxClients: 1}
				}
				return tcp.Config{Address: "127.0.0.1:" + freePort(t), MaxClients: 1}
			}
			srv := &tcp.Server{Handler: greeting(), Config: listens()}
			first, result := running(t, srv)
			inside := dial(t, network, first)
			receive(t, inside, "welcome\n")
			var waiting []net.Conn
			for range 3 {
				waiting = append(waiting, dial(t, network, first))
			}
			cfg := listens()
			if err := srv.Reconfigure(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			exchange(t, inside, "still here\n")
			latest := dial(t, network, cfg.Address)
			const quiet = 300 * time.Millisecond // longer than a server that stops empties its queue
			if network == "tcp" && runtime.GOOS == "linux" {
				eventually(t, "the end of the old address for others", func() bool {
					conn, err := net.DialTimeout(network, first, quiet)
					if err == nil {
						conn.Close()
					}
					return err != nil
				})
			} else {
				time.Sleep(quiet)
			}
			inside.Close()
			var left sync.WaitGroup
			for _, conn := range append(waiting, latest) {
				left.Go(func() {
					receive(t, conn, "welcome\n")
					exchange(t, conn, "hello\n")
					conn.Close()
				})
			}
			left.Wait()
			shutdown(t, srv)
			result()
		})
	}
}

// Under load no client is refused or lost while the address changes: clients go where the server
// last said that it listens.
func TestReconfigureAddressUnderLoad(t *testing.T) {
	for name, newHandler := range handlersOfAllKinds() {
		t.Run(name, func(t *testing.T) {
			rounds := testutil.Rounds(20)
			srv := &tcp.Server{Handler: newHandler(), Config: tcp.Config{Address: "127.0.0.1:0"}}
			first, result := running(t, srv)
			live := dial(t, "tcp", first)
			exchange(t, live, "hello\n")
			ports := freePorts(t, 20)
			files := testutil.OpenFiles(t)
			where := moving{addr: first}
			visits, halt := visitAll(t, 8, where.dial, ping)
			for i := range rounds {
				before := visits.Load()
				eventually(t, "visits", func() bool { return visits.Load() > before+20 || t.Failed() })
				cfg := srv.Settings()
				cfg.Address = "127.0.0.1:" + ports[i%len(ports)]
				where.move(func() string { // those that have connected by now are in the old queue
					if err := srv.Reconfigure(t.Context(), cfg); err != nil {
						t.Error(err)
					}
					return cfg.Address
				})
				exchange(t, live, "still here\n")
			}
			halt()
			eventually(t, "the descriptors", func() bool { return testutil.OpenFiles(t) <= files })
			shutdown(t, srv)
			result()
		})
	}
}

// visitAll makes n clients connect and visit again and again, until halt is called, or the test ends.
func visitAll(t *testing.T, n int, connect func(client int) (net.Conn, error), visit func(net.Conn) error) (visits *atomic.Int64, halt func()) {
	visits = new(atomic.Int64)
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				conn, err := connect(i)
				if err == nil {
					err = visit(conn)
				}
				if err != nil {
					t.Errorf("a client: %v", err)
					return
				}
				visits.Add(1)
			}
		})
	}
	halt = sync.OnceFunc(func() { close(done); all.Wait() })
	t.Cleanup(halt)
	return visits, halt
}

// moving is where clients go while a server changes its address.
type moving struct {
	mu   sync.RWMutex
	addr string
}

// dial connects before or after a move.
func (m *moving) dial(int) (net.Conn, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return net.DialTimeout("tcp", m.addr, patience)
}

// move calls to, which returns the new address. Nobody connects meanwhile.
func (m *moving) move(to func() string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addr = to()
}

// ping sends a line, demands it back, and closes the connection.
func ping(conn net.Conn) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 6))
	return err
}

// A server with a listener that was passed to Serve keeps it; its own one moves.
func TestReconfigureAddressBesideServe(t *testing.T) {
	srv := &tcp.Server{Handler: echo(), Config: tcp.Config{Address: "127.0.0.1:0"}}
	first, result := running(t, srv)
	given := listenTCP(t)
	served := serve(t.Context(), t, srv, given)
	eventually(t, "both", func() bool { return len(srv.Addrs()) == 2 })
	next := "127.0.0.1:" + freePort(t)
	reconfigure(t, srv, func(cfg *tcp.Config) { cfg.Address = next })
	for _, addr := range []string{given.Addr().String(), next} {
		exchange(t, dial(t, "tcp", addr), "hello\n")
	}
	eventually(t, "the end of the old one", func() bool {
		conn, err := net.Dial("tcp", first)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if n := len(srv.Addrs()); n != 2 {
		t.Errorf("%d listeners", n)
	}
	shutdown(t, srv)
	for _, result := range []func() error{result, served} {
		if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
			t.Error(err)
		}
	}
}

// Stop and change at the same time, in any order.
func TestReconfigureWhileTheServerStops(t *testing.T) {
	for range testutil.Rounds(50) {
		srv := &tcp.Server{Handler: echo(), Config: tcp.Config{Address: "127.0.0.1:0"}}
		first, result := running(t, srv)
		conn := dial(t, "tcp", first)
		exchange(t, conn, "hello\n")
		var both sync.WaitGroup
		both.Go(func() {
			for i := range 3 {
				err := srv.Reconfigure(t.Context(), tcp.Config{Address: "127.0.0.1:" + freePort(t), MaxClients: i})
				if err != nil && !errors.Is(err, tcp.ErrServerClosed) {
					t.Error(err)
				}
			}
		})
		both.Go(func() { shutdown(t, srv) })
		both.Wait()
		receiveAll(t, conn, "")
		if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
			t.Error(err)
		}
		if n := len(srv.Addrs()); n != 0 {
			t.Errorf("%d listeners are left", n)
		}
	}
}
