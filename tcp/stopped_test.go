package tcp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// asleep is a connection of a process that is stopped during one Read: that ends at the deadline,
// whatever has arrived.
type asleep struct {
	net.Conn
	silent net.Conn // on which nothing arrives
	awake  int      // Reads before that one
}

func (a *asleep) Read(p []byte) (int, error) {
	a.awake--
	if a.awake == -1 {
		return a.silent.Read(p)
	}
	return a.Conn.Read(p)
}

func (a *asleep) SetReadDeadline(t time.Time) error {
	a.silent.SetReadDeadline(t)
	return a.Conn.SetReadDeadline(t)
}

func (a *asleep) NetConn() net.Conn { return a.Conn }

// asleepListener returns such connections.
type asleepListener struct {
	*tcptest.Listener
	awake int
}

func (l asleepListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	silent, _ := tcptest.Pipe()
	return &asleep{conn, silent, l.awake}, nil
}

// A client whose header, or part of the handshake, waits in the socket when the timeout expires is
// served: the process was stopped.
func TestStoppedInPreamble(t *testing.T) {
	const limit = time.Second
	for _, o := range openings(t) {
		reads := 2 // of a handshake; a header may come with the hello
		if o.name == "PROXY" {
			reads = 1
		}
		for awake := range reads {
			for name, h := range map[string]func() handler.Handler{
				"frames": func() handler.Handler { return greeting() },
				"plain": func() handler.Handler {
					return handler.Func(func(_ context.Context, conn net.Conn) {
						io.WriteString(conn, "welcome\n")
						io.Copy(conn, conn)
					})
				},
			} {
				t.Run(fmt.Sprintf("%s %s after %d", o.name, name, awake), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						cfg := o.cfg
						cfg.ProxyHeaderTimeout, cfg.HandshakeTimeout = limit, limit
						s := &tcp.Server{Config: cfg, Handler: h()}
						ln := tcptest.Listen()
						serve(t.Context(), t, s, asleepListener{ln, awake})
						began := time.Now()
						conn := o.begin(join(t, ln))
						receive(t, conn, "welcome\n")
						exchange(t, conn, "hello\n")
						if took := time.Since(began); took > limit {
							t.Errorf("took %v", took)
						}
						s.Close()
						synctest.Wait()
					})
				})
			}
		}
	}
}

// A client that is silent is waited for no longer than that.
func TestSilentInPreamble(t *testing.T) {
	const limit = time.Second
	for _, o := range openings(t) {
		t.Run(o.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := o.cfg
				cfg.ProxyHeaderTimeout, cfg.HandshakeTimeout = limit, limit
				s := &tcp.Server{Config: cfg, Handler: greeting()}
				ln := tcptest.Listen()
				serve(t.Context(), t, s, ln)
				began := time.Now()
				if n, err := join(t, ln).Read(make([]byte, 1)); err == nil {
					t.Errorf("%d bytes", n)
				}
				if took := time.Since(began); took < limit || took > limit+100*time.Millisecond {
					t.Errorf("took %v", took)
				}
				s.Close()
				synctest.Wait()
			})
		})
	}
}

// hanging is a server with a function of its TLSConfig that blocks.
type hanging struct {
	*tcptest.Server
	gate   *gate
	client *tls.Config
	log    *journal
}

// blocking are the functions of a server's tls.Config that take part in a handshake.
var blocking = map[string]func(c *tls.Config, work func()){
	"GetConfigForClient": func(c *tls.Config, work func()) {
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			work()
			return nil, nil
		}
	},
	"GetCertificate": func(c *tls.Config, work func()) {
		cert := c.Certificates[0]
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			work()
			return &cert, nil
		}
		c.Certificates = nil
	},
	"VerifyConnection": func(c *tls.Config, work func()) {
		c.VerifyConnection = func(tls.ConnectionState) error {
			work()
			return nil
		}
	},
}

func startHanging(t *testing.T, name string, limit time.Duration) *hanging {
	t.Helper()
	a := testutil.NewAuthority(t)
	cert, err := tls.X509KeyPair(a.Issue(t, "first"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hanging{Server: tcptest.NewUnstartedServer(echo()), gate: newGate(t), client: a.Client("first"), log: new(journal)}
	h.TCP.Config = tcp.Config{HandshakeTimeout: limit, Log: h.log.logger(), DrainTimeout: patience}
	h.TCP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	blocking[name](h.TCP.TLSConfig, func() { h.gate.work("hold") })
	h.Start()
	t.Cleanup(h.Close)
	return h
}

// begin has a client begin a handshake, and returns when the function blocks. ended gets what the
// client sees.
func (h *hanging) begin(t *testing.T) (ended <-chan error) {
	t.Helper()
	ended, blocks := h.tryBegin(t)
	if !blocks {
		t.Fatalf("the function is not called, and the client sees %v", <-ended)
	}
	return ended
}

// tryBegin is begin. It reports false if the client has ended before.
func (h *hanging) tryBegin(t *testing.T) (ended <-chan error, blocks bool) {
	t.Helper()
	conn, result := dial(t, "tcp", h.Addr), make(chan error, 1)
	go func() {
		secure := tls.Client(conn, h.client)
		err := secure.Handshake()
		if err == nil { // VerifyConnection may come after the client's part
			_, err = secure.Read(make([]byte, 1))
		}
		result <- err
	}()
	return result, testutil.Soon(patience, func() bool { return len(h.gate.holding)+len(result) > 0 }) && h.holds()
}

// holds reports whether a call of the function blocks of which it has not reported yet.
func (h *hanging) holds() bool {
	select {
	case <-h.gate.holding:
		return true
	default:
		return false
	}
}

// A function of Server.TLSConfig that blocks ends with the timeout of the handshake, for the client
// and for the server's counts. Others are served.
func TestTLSConfigFunctionBlocks(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for name := range blocking {
		t.Run(name, func(t *testing.T) {
			testutil.InTime(t, 200*time.Millisecond, func(limit time.Duration) error { return functionBlocks(t, name, limit) })
		})
	}
}

// functionBlocks returns ErrLate if a client was too late for the timeout of its handshake.
func functionBlocks(t *testing.T, name string, limit time.Duration) error {
	h := startHanging(t, name, limit)
	began := time.Now()
	const many = 3
	for range many {
		begin := time.Now()
		ended, blocks := h.tryBegin(t)
		if !blocks && time.Since(begin) >= limit {
			return testutil.ErrLate
		}
		if err := testutil.Await(t, "the end of the client", ended); err == nil || !blocks {
			t.Errorf("the function blocks: %v; the client sees %v", blocks, err)
		}
	}
	if took := time.Since(began); took < many*limit {
		t.Errorf("ended after %v", took)
	}
	eventually(t, "the clients are counted", func() bool {
		stats := h.TCP.Stats()
		return stats.FailedHandshakes == many && stats.Active == 0
	})
	lines := h.log.find("TLS handshake failed")
	if len(lines) != many || !strings.HasPrefix(lines[0]["err"], "handshake timeout") {
		t.Errorf("log %v", lines)
	}
	h.gate.open()
	begin := time.Now()
	good, err := dialTLS(t, h.Addr, h.client)
	if time.Since(begin) >= limit {
		return testutil.ErrLate
	}
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, good, "hello\n")
	shutdown(t, h.TCP)
	return nil
}

// A drain does not wait for such a function.
func TestDrainWhileAFunctionBlocks(t *testing.T) {
	h := startHanging(t, "GetCertificate", time.Hour)
	ended := h.begin(t)
	shutdown(t, h.TCP)
	if d := h.TCP.Drained(); d.Took > testutil.Slack || d.Cut != 0 {
		t.Errorf("%+v", d)
	}
	if err := testutil.Await(t, "the end of the client", ended); err == nil {
		t.Error("the client sees no error")
	}
	if stats := h.TCP.Stats(); stats.Active != 0 || stats.FailedHandshakes != 1 {
		t.Errorf("%+v", stats)
	}
}
