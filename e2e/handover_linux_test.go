package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// A service gets another name, under load, and keeps its address: no client is refused. One that the
// old service has accepted may be drained before it has said anything.
func TestReloadRenamesAService(t *testing.T) {
	testutil.Long(t)
	skipShort(t)
	t.Parallel()
	address := testutil.Listen(t, "tcp", "127.0.0.1:0")
	at := address.Addr().String()
	address.Close()
	r := startReloadable(t, 1, "tcp: {address: '"+at+"'}\n")
	const rounds, clients = 10, 4
	var visits, drained atomic.Int64
	done := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				conn, err := net.DialTimeout("tcp", at, patience)
				if err != nil {
					t.Errorf("a client is refused: %v", err)
					return
				}
				switch err := roundTripOf(conn); {
				case err == nil:
					visits.Add(1)
				case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
					drained.Add(1)
				default:
					t.Errorf("a client: %v", err)
					return
				}
			}
		})
	}
	stop := sync.OnceFunc(func() { close(done); all.Wait() })
	defer stop()
	for i := range rounds {
		before := visits.Load()
		testutil.Eventually(t, "visits", func() bool { return visits.Load() > before+20 || t.Failed() })
		r.write(t, fmt.Sprintf("services: {s%d: {tcp: {address: '%s'}}}\n", i, at))
		if e := r.hup(); e["msg"] != "reloaded" || e["new_services"] != fmt.Sprintf("s%d", i) {
			t.Fatalf("%v", e)
		}
	}
	stop()
	if n := drained.Load(); n > rounds*clients {
		t.Errorf("%d clients were drained, in %d reloads", n, rounds)
	}
	r.stop()
}

// roundTripOf sends a line, demands it back, and closes the connection.
func roundTripOf(conn net.Conn) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	return roundTrip(conn, "hello\n")
}
