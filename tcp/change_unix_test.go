//go:build unix

package tcp_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"wireline/tcp"
)

// A server that was removed and drains when the group stops is waited for, and a second signal
// cuts it, as all others.
func TestGroupStopsWhileARemovedServerDrains(t *testing.T) {
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut %v", cut), func(t *testing.T) {
			var j journal
			gate := newGate(t)
			one, two := service("one", &j, echo()), service("two", &j, echoAfter(gate.work))
			g := &tcp.Group{Servers: []*tcp.Server{one, two}, Signals: []os.Signal{syscall.SIGUSR1}}
			_, result := runGroup(t, g)
			dialServer(t, one)
			busy := dialServer(t, two)
			send(t, busy, "hold\n")
			<-gate.holding
			if err := g.Change(t.Context(), tcp.Changes{Remove: []*tcp.Server{two}}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the drain", func() bool { return j.services("draining") == "two" })
			syscall.Kill(os.Getpid(), syscall.SIGUSR1)
			eventually(t, "the stop", func() bool { return j.services("drained") == "one" })
			want := error(nil)
			if cut {
				syscall.Kill(os.Getpid(), syscall.SIGUSR1)
				want = tcp.ErrCut
				receiveReset(t, busy)
			}
			gate.open()
			if err := result(); !errors.Is(err, want) {
				t.Errorf("Run: %v, want %v", err, want)
			}
			if got := j.services("drained"); got != "one two" {
				t.Errorf("drained: %s", got)
			}
		})
	}
}
