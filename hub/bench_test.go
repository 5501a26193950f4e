package hub_test

import (
	"fmt"
	"runtime"
	"testing"

	"wireline/handler"
	"wireline/hub"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// crowd returns clients of a server in memory whose peers read nothing.
func crowd(b *testing.B, n int) []*handler.Client {
	opened := make(chan *handler.Client, n)
	s := tcptest.NewUnstartedServer(&handler.Frames{WhenSlow: handler.SlowDrop, OnOpen: func(c *handler.Client) error {
		opened <- c
		return nil
	}})
	s.Serve(tcptest.Listen())
	b.Cleanup(func() { s.Close() })
	var all []*handler.Client
	for range n {
		conn := s.Dial()
		b.Cleanup(func() { conn.Close() })
		all = append(all, <-opened)
	}
	return all
}

// The memory of a membership: 1,000 clients in 100 of 20,000 rooms with five members each.
func BenchmarkMembership(b *testing.B) {
	const clients, rooms, members = 1000, 20_000, 5
	all := crowd(b, clients)
	for b.Loop() {
		var h hub.Hub
		before := testutil.Heap()
		for i, c := range all {
			if err := h.Join(c, fmt.Sprint("device ", i)); err != nil {
				b.Fatal(err)
			}
		}
		joined := testutil.Heap()
		for i := range rooms * members {
			if err := h.Enter(all[i%clients], fmt.Sprint("room ", i/members)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(joined-before)/clients, "B/client")
		b.ReportMetric(float64(testutil.Heap()-joined)/(rooms*members), "B/membership")
		runtime.KeepAlive(&h)
		h.Close()
	}
}
