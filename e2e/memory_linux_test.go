package e2e

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// The memory tests do not run in parallel: the memory of a process depends on when its garbage
// collector runs.
//
// nc HOST PORT </dev/zero kills servers that read lines without a limit. The client sends
// until the server ends its connection.

// nc HOST PORT </dev/zero is the death of servers that read a line whatever its
// length. The client goes on sending until it is thrown out.
func TestMemoryUnderFlood(t *testing.T) {
	skipMemory(t)
	tests := []struct {
		name  string
		flood func(t *testing.T, addr string) func()
	}{
		{"socket", floodToTheEnd},
		{"nc", floodByNC},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const most = 1 << 20
			grown := leastGrowth(most, func() int {
				p := start(t, "--log.connections=false")
				run := test.flood(t, p.addr)
				if _, err := flood(p.addr, "", 1<<20); err != nil { // memory that the first flood needs is reused
					t.Fatal(err)
				}
				return p.growth(run)
			})
			if grown > most {
				t.Errorf("grew by %s, want less than 1 MiB", mebibytes(grown))
			}
		})
	}
}

// floodToTheEnd sends zeros until the server resets the connection.
func floodToTheEnd(t *testing.T, addr string) func() {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return func() {
		for err == nil {
			err = sendZeros(conn, 1<<20)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the server does not end the connection")
		}
	}
}

// floodByNC runs that very command.
func floodByNC(t *testing.T, addr string) func() {
	nc := need(t, openbsdNC)
	host, port := splitAddr(addr)
	return func() {
		if got, want := floodBy(t, nc, host, port), "error: line too long (max 65536 bytes)\n"; got != want {
			t.Errorf("nc printed %s, want %q", abridged(got), want)
		}
	}
}

// Clients that send and never read use no more memory than their bound.
func TestMemoryOfClientsThatNeverRead(t *testing.T) {
	skipMemory(t)
	// For each client, a batch of replies and the lines behind it, 64 KiB each, and as much
	// again for the garbage collector.
	const clients, most = 20, 20 * 512 << 10
	grown := leastGrowth(most, func() int {
		p := start(t, "--log.connections=false")
		echoes(t, p.dial(), "hello\n")
		var conns []net.Conn
		for range clients {
			conns = append(conns, p.dial())
		}
		return p.growth(func() {
			var all sync.WaitGroup
			for _, conn := range conns {
				all.Go(func() { sendUntilStuck(conn) })
			}
			all.Wait()
		})
	})
	if grown > most {
		t.Errorf("grew by %s, want less than 512 KiB per client", mebibytes(grown))
	}
}

// growth is how much memory the process needs at most while f runs, beyond what it has before.
func (p *process) growth(f func()) int {
	p.t.Helper()
	before := p.memory()
	after := p.peak(f)
	p.t.Logf("%s before, %s at most", mebibytes(before), mebibytes(after))
	return after - before
}

// leastGrowth is the least of a few measurements, or the first that is not above most. On a busy
// machine, the garbage collector of a process may come late, and then its garbage counts, too.
func leastGrowth(most int, measure func() int) int {
	least := measure()
	for try := 1; try < 5 && least > most; try++ {
		least = min(least, measure())
	}
	return least
}

func skipMemory(t *testing.T) {
	t.Helper()
	skipShort(t)
	if testutil.RaceEnabled {
		t.Skip("the race detector uses memory of its own")
	}
}
