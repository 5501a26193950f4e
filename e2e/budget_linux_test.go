package e2e

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// The program of these tests may buffer budget. What the garbage collector has not freed yet
// comes to that, which GOMEMLIMIT bounds.
const (
	budget     = 8 << 20
	budgetFlag = "--tcp.max_buffered=8MiB"
	goLimit    = 40 << 20
	budgetPeak = goLimit + 8<<20
)

func setGoLimit(t *testing.T) { t.Setenv("GOMEMLIMIT", strconv.Itoa(goLimit)) }

// servedMeanwhile runs f while a client of its own is served, and demands that p stays within
// its budget.
func (p *process) servedMeanwhile(f func()) {
	p.t.Helper()
	good, done := p.dial(), make(chan struct{})
	before := p.memory()
	after := p.peak(func() {
		go func() {
			defer close(done)
			f()
		}()
		for {
			echoes(p.t, good, "hello\n")
			select {
			case <-done:
				echoes(p.t, good, "bye\n")
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	p.t.Logf("%s before, %s at most with a budget of %s", mebibytes(before), mebibytes(after), mebibytes(budget))
	if grown := after - before; grown > budgetPeak {
		p.t.Errorf("grew by %s, want less than %s", mebibytes(grown), mebibytes(budgetPeak))
	}
	good.Close()
}

// refusedFor is how many clients were refused because of cause, by the log.
func (p *process) refusedFor(cause string) (n int) {
	for _, line := range p.find("cause", cause) {
		count, _ := strconv.Atoi(line["count"]) // none at level debug
		n += count
	}
	return n
}

// Many half lines do not use more memory than the budget, and the log has every client that
// was reset for it. One in an 80 MB cgroup was killed by 1,241 of them.
func TestBudgetOfHalfLines(t *testing.T) {
	skipMemory(t)
	setGoLimit(t)
	const clients = 1241
	p := start(t, budgetFlag)
	var conns []net.Conn
	half := strings.Repeat("x", 60<<10)
	p.servedMeanwhile(func() {
		for range clients {
			conn, err := net.DialTimeout("tcp", p.addr, patience)
			if err != nil {
				continue
			}
			conn.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(conn, half); err != nil {
				conn.Close()
				continue
			}
			conns = append(conns, conn)
		}
	})
	p.stop()
	reset := clients - len(conns) // while they connected, or sent
	for _, conn := range conns {
		if _, err := io.Copy(io.Discard, conn); netconn.IsReset(err) {
			reset++
		} else if err != nil {
			t.Errorf("a client sees %v, want a reset or the end", err)
		}
		conn.Close()
	}
	ended, refused := len(p.find("reason", "memory")), p.refusedFor("memory")
	t.Logf("%d clients were reset: %d ended, %d refused", reset, ended, refused)
	if ended == 0 || ended+refused != reset {
		t.Errorf("%d clients ended and %d refused in the log, and %d were reset", ended, refused, reset)
	}
}

// Clients that never read do not use more than the budget either.
func TestBudgetOfClientsThatNeverRead(t *testing.T) {
	skipMemory(t)
	setGoLimit(t)
	const clients = 100
	p := start(t, budgetFlag, "--echo.max_line=1MiB", "--echo.write_timeout=0s", "--tcp.send_buffer=64KiB")
	var conns []net.Conn
	for range clients {
		conns = append(conns, p.dial())
	}
	lines := strings.Repeat(strings.Repeat("x", 1<<20-1)+"\n", 4)
	p.servedMeanwhile(func() {
		var all sync.WaitGroup
		for _, conn := range conns {
			all.Go(func() { io.WriteString(conn, lines) }) // until the server does not read, or resets
		}
		// The others fit in the budget: each holds a reply, and the line behind it.
		testutil.Soon(patience, func() bool { return len(p.find("reason", "memory")) >= clients/2 })
		for _, conn := range conns {
			conn.Close()
		}
		all.Wait()
	})
	if n := len(p.find("reason", "memory")); n < clients/2 {
		t.Errorf("%d of %d clients were ended, want half of them at least", n, clients)
	}
	p.stop()
}
