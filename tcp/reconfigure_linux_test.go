package tcp_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
)

// optionWatchers makes handlers that take a connection, or a bare socket, and send its options to seen.
func optionWatchers(t *testing.T, options map[string]int) (seen chan map[string]int, kinds map[string]func() handler.Handler) {
	seen = make(chan map[string]int, 1)
	look := func(_ context.Context, conn net.Conn) {
		conn.Read(make([]byte, 1)) // the client is to see its connect succeed first
		seen <- optionsIn(t, conn, options)
	}
	return seen, map[string]func() handler.Handler{
		"connection": func() handler.Handler { return handler.Func(look) },
		"socket": func() handler.Handler {
			h := handler.Func(look)
			return &acceptor{Handler: h, accept: h.Accept}
		},
	}
}

// The options of a listener that the server has opened change, and back to those of the system,
// where that is possible. What it accepts inherits them, in whichever way.
func TestReconfigureOptions(t *testing.T) {
	for _, test := range optionTests {
		t.Run(test.name, func(t *testing.T) {
			if test.accepted == nil {
				test.accepted = test.listener
			}
			seen, kinds := optionWatchers(t, test.accepted)
			for what, kind := range kinds {
				srv := &tcp.Server{Handler: kind(), Config: tcp.Config{Address: "127.0.0.1:0"}}
				addr, result := running(t, srv)
				linger := func(options map[string]int) map[string]int { // it is set on connections only
					options = maps.Clone(options)
					delete(options, "SO_LINGER")
					return options
				}
				listener := func() map[string]int { return linger(optionsIn(t, tcp.OwnListener(srv), test.listener)) }
				accepted := func() map[string]int {
					conn := dial(t, "tcp", addr)
					defer conn.Close()
					send(t, conn, "x")
					return testutil.Await(t, "a connection", seen)
				}
				expect := func(step string, got, want map[string]int) {
					t.Helper()
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s, %s (-want +got):\n%s", what, step, diff)
					}
				}
				ofListener, ofAccepted := listener(), accepted()
				old := dial(t, "tcp", addr)
				send(t, old, "x")
				expect("another", testutil.Await(t, "a connection", seen), ofAccepted)
				next := test.cfg
				next.Address = srv.Config.Address
				if err := srv.Reconfigure(t.Context(), next); err != nil {
					t.Fatal(err)
				}
				if len(srv.Config.Fixed(&next)) == 0 {
					expect("listener", listener(), linger(test.listener))
					expect("changed", accepted(), test.accepted)
				} else {
					expect("listener, fixed", listener(), ofListener)
				}
				if now := srv.Settings(); len(now.Fixed(&srv.Config)) == 0 {
					if err := srv.Reconfigure(t.Context(), srv.Config); err != nil {
						t.Fatal(err)
					}
					expect("listener, changed back", listener(), ofListener)
					expect("changed back", accepted(), ofAccepted)
				}
				shutdown(t, srv)
				result()
			}
		})
	}
}

// The close mode that a handler sees is that of the socket.
func TestReconfigureLinger(t *testing.T) {
	modes := []handler.CloseMode{handler.CloseDefault, handler.CloseReset, handler.CloseWithin(3 * time.Second), handler.CloseDefault, handler.CloseWithin(4 * time.Second)}
	for _, listen := range []string{"own", "given", "given with linger"} {
		t.Run(listen, func(t *testing.T) {
			seen := make(chan handler.CloseMode, 1)
			h := &acceptor{Handler: handler.Func(nil), accept: func(a handler.Accepted) {
				seen <- a.CloseMode()
				if conn, err := a.Conn(); err == nil {
					conn.Close()
				}
				a.Done()
			}}
			srv := &tcp.Server{Handler: h, Config: tcp.Config{Address: "127.0.0.1:0"}}
			var addr string
			switch listen {
			case "own":
				addr, _ = running(t, srv)
			default:
				cfg := srv.Config
				if listen != "given" {
					cfg.Linger = handler.CloseWithin(time.Second)
					srv.Linger = cfg.Linger
				}
				ln, err := tcp.Listen(t.Context(), &cfg)
				if err != nil {
					t.Fatal(err)
				}
				addr = ln.Addr().String()
				serve(t.Context(), t, srv, ln)
				eventually(t, "the server", func() bool { return len(srv.Addrs()) == 1 })
			}
			for _, mode := range modes {
				reconfigure(t, srv, func(cfg *tcp.Config) { cfg.Linger = mode })
				if conn, err := net.Dial("tcp", addr); err == nil { // else it was reset already
					defer conn.Close()
				}
				if got := testutil.Await(t, "a connection", seen); got != mode {
					t.Errorf("%v, want %v", got, mode)
				}
			}
		})
	}
}

// Without TLS any more, handlers get bare sockets, from the first client on: the accept loop that
// waits accepts it as a net.Conn yet.
func TestReconfigureToBareSockets(t *testing.T) {
	bare := make(chan bool, 1)
	h := &acceptor{Handler: handler.Func(nil), accept: func(a handler.Accepted) {
		fd, ok := a.Socket()
		if ok {
			unix.Close(fd)
		} else if conn, err := a.Conn(); err == nil {
			conn.Close()
		}
		bare <- ok
		a.Done()
	}}
	authority := testutil.NewAuthority(t)
	cfg := tlsFiles(t, authority)
	cfg.Address = "127.0.0.1:0"
	srv := &tcp.Server{Handler: h, Config: cfg}
	addr, _ := running(t, srv)
	mustDialTLS(t, addr, authority.Client("first"))
	if testutil.Await(t, "a client with TLS", bare) {
		t.Error("it has a bare socket")
	}
	reconfigure(t, srv, func(cfg *tcp.Config) { cfg.TLS = tcp.TLSFiles{} })
	for range 2 {
		dial(t, "tcp", addr)
		if !testutil.Await(t, "a client", bare) {
			t.Error("it has no bare socket")
		}
	}
}

// An option that the system does not take is refused before anything changes.
func TestReconfigureRefusedOption(t *testing.T) {
	srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{Address: "127.0.0.1:0"}}
	running(t, srv)
	cfg := srv.Settings()
	cfg.MaxClients, cfg.Socket.Backlog = 7, 1<<29
	var bad *field.Error
	if err := srv.Reconfigure(t.Context(), cfg); !errors.As(err, &bad) || bad.Field != "Socket.Backlog" {
		t.Errorf("error %v", err)
	}
	if now := srv.Settings(); now.MaxClients != 0 || now.Socket.Backlog != 0 {
		t.Errorf("%+v is in force", now)
	}
}
