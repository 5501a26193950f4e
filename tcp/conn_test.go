package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// form is a way in which handlers get their connections.
type form struct {
	name string
	cfg  func(t *testing.T) (tcp.Config, func(conn net.Conn) net.Conn) // and what the client does first
	own  bool                                                          // its bytes are the socket's own
}

var forms = []form{
	{"plain", func(*testing.T) (tcp.Config, func(net.Conn) net.Conn) {
		return tcp.Config{}, func(conn net.Conn) net.Conn { return conn }
	}, true},
	{"unix", func(t *testing.T) (tcp.Config, func(net.Conn) net.Conn) {
		if runtime.GOOS == "windows" {
			t.Skip("no unix sockets in tests on Windows")
		}
		return tcp.Config{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}, func(conn net.Conn) net.Conn { return conn }
	}, true},
	{"PROXY", func(t *testing.T) (tcp.Config, func(net.Conn) net.Conn) {
		return trusting(tcp.ProxyProtocolRequired), func(conn net.Conn) net.Conn {
			io.WriteString(conn, formatted(t, 2, from4, to4))
			return conn
		}
	}, true},
	{"TLS", func(t *testing.T) (tcp.Config, func(net.Conn) net.Conn) {
		a := testutil.NewAuthority(t)
		return tlsFiles(t, a), func(conn net.Conn) net.Conn {
			secure := tls.Client(conn, a.Client("first"))
			if err := secure.Handshake(); err != nil {
				t.Error(err)
			}
			return secure
		}
	}, false},
}

// handed is a server that hands out the connections that its handler gets.
type handed struct {
	*tcptest.Server
	begin func(net.Conn) net.Conn
	conns chan net.Conn
	t     *testing.T
}

// hand starts a server for a form, with a handler that is plain or, if counted is set,
// handler.Func.
func hand(t *testing.T, f form, counted bool) *handed {
	t.Helper()
	h := &handed{conns: make(chan net.Conn), t: t}
	cfg, begin := f.cfg(t)
	h.begin = begin
	give := func(ctx context.Context, conn net.Conn) {
		h.conns <- conn
		<-ctx.Done()
	}
	var own handler.Handler = rawContext(give)
	if counted {
		own = handler.Func(give)
	}
	h.Server = start(t, cfg, own)
	return h
}

// rawContext is a handler that is given the connections as they are.
type rawContext func(ctx context.Context, conn net.Conn)

func (h rawContext) Handle(ctx context.Context, conn net.Conn) { h(ctx, conn) }

func (h rawContext) Close() error { return nil }

// pipe returns both ends of a new connection.
func (h *handed) pipe() (client, server net.Conn) {
	client = h.begin(h.Dial())
	return client, testutil.Await(h.t, "the connection", h.conns)
}

// What handlers get is a net.Conn in every respect.
func TestConnContract(t *testing.T) {
	for _, f := range forms {
		for _, counted := range []bool{false, true} {
			name := f.name
			if counted {
				name += ", counted"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if f.name == "TLS" && os.Getenv(tlsContractEnv) == "" {
					testTLSContract(t, name)
					return
				}
				h := hand(t, f, counted)
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					c1, c2 = h.pipe()
					return c1, c2, func() { c1.Close(); c2.Close() }, nil
				})
			})
		}
	}
}

// tlsContractEnv is set for the process that runs nettest.TestConn under TLS.
const tlsContractEnv = "WIRELINE_TEST_TLS_CONTRACT"

// testTLSContract runs the parts of the contract that crypto/tls can keep: it cannot go on
// after a Write that has timed out. nettest has no way to leave some out but that of
// package testing, for a whole process.
func testTLSContract(t *testing.T, name string) {
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	pattern := "^TestConnContract$/^" + strings.ReplaceAll(name, " ", "_") + "$"
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.v", "-test.run="+pattern,
		"-test.skip="+pattern+"/^(PastTimeout|FutureTimeout|ConcurrentMethods)$")
	cmd.Env = append(os.Environ(), tlsContractEnv+"=1")
	out, err := cmd.CombinedOutput()
	const parts = 8 // of the 11
	if passed := strings.Count(string(out), "--- PASS: TestConnContract/"+strings.ReplaceAll(name, " ", "_")+"/"); err != nil || passed != parts {
		t.Errorf("%v; %d passed of %d:\n%s", err, passed, parts, out)
	}
}

// And more than that, where the form allows it.
func TestConnMethods(t *testing.T) {
	t.Parallel()
	for _, f := range forms {
		for _, counted := range []bool{false, true} {
			t.Run(f.name, func(t *testing.T) {
				h := hand(t, f, counted)

				client, server := h.pipe()
				if n, err := io.Copy(server, struct{ io.Reader }{strings.NewReader("from a reader")}); n != 13 || err != nil {
					t.Errorf("copied %d bytes to it, %v", n, err)
				}
				if _, ok := server.(io.ReaderFrom); !ok && f.own && f.name != "unix" {
					t.Error("it has no ReadFrom")
				}
				receive(t, client, "from a reader")
				endWriting(t, server)
				receiveAll(t, client, "")
				send(t, client, "to a writer")
				endWriting(t, client)
				var b strings.Builder
				if n, err := io.Copy(&b, server); n != 11 || err != nil || b.String() != "to a writer" {
					t.Errorf("copied %d bytes, %v", n, err)
				}
				client.Close()
				server.Close()

				_, server = h.pipe()
				sc, ok := server.(syscall.Conn)
				if !ok {
					if f.own {
						t.Error("it has no SyscallConn")
					}
					return
				}
				rawConn, err := sc.SyscallConn()
				switch {
				case !f.own && !errors.Is(err, errors.ErrUnsupported):
					t.Errorf("SyscallConn: %v", err)
				case f.own && (err != nil || rawConn.Control(func(uintptr) {}) != nil):
					t.Errorf("SyscallConn: %v", err)
				}
				if err := server.(interface{ CloseRead() error }).CloseRead(); f.own && err != nil {
					t.Errorf("CloseRead: %v", err)
				}
			})
		}
	}
}

func endWriting(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}
