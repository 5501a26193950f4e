package tcp_test

import (
	"io"
	"net"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// foreign are listeners that Listen has not made, and one that it has.
func foreign(t *testing.T) map[string]func(*tcp.Config) net.Listener {
	return map[string]func(*tcp.Config) net.Listener{
		"foreign": func(*tcp.Config) net.Listener { return listenTCP(t) },
		"wrapped": func(*tcp.Config) net.Listener { return hide{listenTCP(t)} },
		"own": func(cfg *tcp.Config) net.Listener {
			cfg.Address = "127.0.0.1:0"
			ln, err := tcp.Listen(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			return ln
		},
	}
}

// The connections of every listener have SO_LINGER as the Config says, also for a handler
// of the user, and after Hijack.
func TestServerLinger(t *testing.T) {
	for linger, want := range map[handler.CloseMode]int{
		handler.CloseDefault: -1, handler.CloseWithin(5 * time.Second): 5, handler.CloseReset: 0, handler.CloseLingering: -1,
	} {
		for name, listen := range foreign(t) {
			t.Run(linger.String()+"/"+name, func(t *testing.T) {
				got := make(chan int, 1)
				for _, h := range []handler.Handler{
					raw(func(conn net.Conn) {
						io.ReadFull(conn, make([]byte, 2))
						got <- lingerOf(t, conn)
					}),
					&handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
						conn, _, err := c.Hijack()
						if err != nil {
							return err
						}
						got <- lingerOf(t, conn)
						return conn.Close()
					}},
				} {
					cfg := tcp.Config{Linger: linger}
					ln := listen(&cfg)
					serve(t.Context(), t, &tcp.Server{Config: cfg, Handler: h}, ln)
					send(t, dial(t, "tcp", ln.Addr().String()), "x\n")
					if seconds := testutil.Await(t, "a connection", got); seconds != want {
						t.Errorf("%T: SO_LINGER is %d, want %d", h, seconds, want)
					}
				}
			})
		}
	}
}

// lingerOf is SO_LINGER of a connection: -1 if it is off, else its seconds.
func lingerOf(t *testing.T, conn net.Conn) int {
	return optionsIn(t, conn, map[string]int{"SO_LINGER": 0})["SO_LINGER"]
}

// And so they are seen from the other side.
func TestServerLingerReset(t *testing.T) {
	for name, listen := range foreign(t) {
		t.Run(name, func(t *testing.T) {
			cfg := tcp.Config{Linger: handler.CloseReset}
			ln := listen(&cfg)
			h := raw(func(conn net.Conn) {
				io.ReadFull(conn, make([]byte, 1))
				conn.Close()
			})
			serve(t.Context(), t, &tcp.Server{Config: cfg, Handler: h}, ln)
			client := dial(t, "tcp", ln.Addr().String())
			send(t, client, "x")
			receiveReset(t, client)
		})
	}
}

// What the listener has itself comes first, and is not undone.
func TestListenersLingerComesFirst(t *testing.T) {
	ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Linger: handler.CloseWithin(7 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 1)
	h := raw(func(conn net.Conn) { got <- lingerOf(t, conn) })
	serve(t.Context(), t, &tcp.Server{Config: tcp.Config{Linger: handler.CloseReset}, Handler: h}, ln)
	dial(t, "tcp", ln.Addr().String())
	if seconds := testutil.Await(t, "a connection", got); seconds != 7 {
		t.Errorf("SO_LINGER is %d, want 7", seconds)
	}
}
