package tcp_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// A socket that is handed over gets the options of the new server's configuration, also if that has
// those of the system, and what is accepted has them, in whichever way.
func TestHandoverOptions(t *testing.T) {
	const fixed = "SO_REUSEPORT" // and buffers that go back to the system's size
	for _, test := range optionTests {
		t.Run(test.name, func(t *testing.T) {
			if test.accepted == nil {
				test.accepted = test.listener
			}
			seen, kinds := optionWatchers(t, test.accepted)
			for what, kind := range kinds {
				var j journal
				address := "127.0.0.1:" + freePort(t)
				server := func(name string, cfg tcp.Config) *tcp.Server {
					cfg.Address, cfg.Log = address, j.logger()
					return &tcp.Server{Name: name, Config: cfg, Handler: kind()}
				}
				options := func(s *tcp.Server) (listener, accepted map[string]int) {
					listener = maps.Clone(optionsIn(t, tcp.OwnListener(s), test.listener))
					delete(listener, "SO_LINGER") // it is set on connections only
					conn := dial(t, "tcp", address)
					defer conn.Close()
					send(t, conn, "x")
					return listener, testutil.Await(t, "a connection", seen)
				}
				first, second, third := server("first", tcp.Config{}), server("second", test.cfg), server("third", tcp.Config{})
				g := &tcp.Group{Servers: []*tcp.Server{first}}
				stop, result := runGroup(t, g)
				eventually(t, "the server", first.Ready)
				ofListener, ofAccepted := options(first)
				expect := func(s *tcp.Server, listener, accepted map[string]int) {
					t.Helper()
					gotListener, gotAccepted := options(s)
					listener, accepted = maps.Clone(listener), maps.Clone(accepted)
					delete(listener, "SO_LINGER")
					for _, m := range []map[string]int{gotListener, gotAccepted, listener, accepted} {
						delete(m, fixed)
					}
					if diff := cmp.Diff(listener, gotListener); diff != "" {
						t.Errorf("%s, %s, listener (-want +got):\n%s", what, s.Name, diff)
					}
					if diff := cmp.Diff(accepted, gotAccepted); diff != "" {
						t.Errorf("%s, %s, accepted (-want +got):\n%s", what, s.Name, diff)
					}
				}
				change(t, g, tcp.Changes{Remove: []*tcp.Server{first}, Add: []*tcp.Server{second}})
				expect(second, test.listener, test.accepted)
				if test.cfg.Socket.ReceiveBuffer+test.cfg.Socket.SendBuffer == 0 {
					change(t, g, tcp.Changes{Remove: []*tcp.Server{second}, Add: []*tcp.Server{third}})
					expect(third, ofListener, ofAccepted)
				} else {
					change(t, g, tcp.Changes{Remove: []*tcp.Server{second}, Add: []*tcp.Server{third}})
					expect(third, test.listener, test.accepted)
					cfg := third.Settings()
					if cfg.Socket.ReceiveBuffer != test.cfg.Socket.ReceiveBuffer || cfg.Socket.SendBuffer != test.cfg.Socket.SendBuffer {
						t.Errorf("%s: in force is %+v", what, cfg.Socket)
					}
				}
				if test.cfg.Socket.ReusePort && second.Settings().Socket.ReusePort {
					t.Error("reuse_port is said to be in force")
				}
				if n := len(j.find("socket option not changed")); n > 0 {
					t.Errorf("%d warnings", n)
				}
				ended(t, stop, result)
			}
		})
	}
}
