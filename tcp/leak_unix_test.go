//go:build unix

package tcp

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"weak"

	"wireline/handler"
	"wireline/internal/testutil"
)

// A server that moves, or gives its socket away, forgets its old listeners, also if there is a
// client of the first one.
func TestOldListenersAreForgotten(t *testing.T) {
	const moves = 5
	for _, way := range []string{"moves", "swaps"} {
		for _, client := range []string{"", " with a client"} {
			t.Run(way+client, func(t *testing.T) {
				server := func(name string) *Server {
					h := &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) }}
					return &Server{Name: name, Config: Config{Address: "127.0.0.1:" + testutil.FreePort(t), Log: slog.New(slog.DiscardHandler)}, Handler: h}
				}
				one, two := server("one"), server("two")
				g := &Group{Servers: []*Server{one, two}}
				ended := make(chan error, 1)
				ctx, stop := context.WithCancel(t.Context())
				go func() { ended <- g.Run(ctx) }()
				testutil.Eventually(t, "the servers", func() bool { return one.Ready() && two.Ready() })
				if client != "" {
					conn := testutil.Dial(t, "tcp", one.Address)
					io.WriteString(conn, "hello\n")
					io.ReadFull(conn, make([]byte, 6))
				}
				listeners := []weak.Pointer[listener]{weak.Make(one.ownListener())}
				for range moves {
					next, other := one.Settings(), two.Settings()
					if way == "swaps" {
						next.Address, other.Address = other.Address, next.Address
					} else {
						next.Address = "127.0.0.1:" + testutil.FreePort(t)
					}
					if err := g.Change(t.Context(), Changes{Set: map[*Server]Config{one: next, two: other}}); err != nil {
						t.Fatal(err)
					}
					listeners = append(listeners, weak.Make(one.ownListener()))
				}
				old := listeners[:moves]
				if client != "" {
					old = old[1:]
				}
				testutil.Eventually(t, "the end of the old listeners", func() bool {
					runtime.GC()
					n := 0
					for _, l := range old {
						if l.Value() != nil {
							n++
						}
					}
					return n == 0
				})
				stop()
				if err := testutil.Await(t, "the end of Run", ended); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
	}
}
