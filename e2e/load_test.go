//go:build unix

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

	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// load is a crowd of clients of an echo server that stops under them.
type load struct {
	dial     func() (net.Conn, error)
	replies  atomic.Int64
	draining atomic.Int64 // when the signal was about to be sent, as UnixNano; or zero
	clients  sync.WaitGroup

	mu     sync.Mutex
	faults []error
}

// fault notes what should not be.
func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Errorf(format, args...))
}

// begin starts clients that send a line as soon as the last one has come back, and as many that
// connect, do so once and leave. All go on until the server does not serve them any more.
func (l *load) begin(clients int) {
	for i := range clients {
		l.clients.Go(func() {
			conn, err := l.dial()
			if err != nil {
				l.fault("client %d: %w", i, err)
				return
			}
			defer conn.Close()
			for n := 0; l.exchange(conn, fmt.Sprintf("client %d line %d\n", i, n)); n++ {
			}
		})
		l.clients.Go(func() {
			for n := 0; ; n++ {
				conn, err := l.dial()
				if err != nil {
					if l.draining.Load() == 0 {
						l.fault("visitor %d.%d: %w", i, n, err)
					}
					return
				}
				goesOn := l.exchange(conn, fmt.Sprintf("visitor %d.%d\n", i, n))
				conn.Close()
				if !goesOn {
					return
				}
			}
		})
	}
}

// exchange sends a line and receives it. It reports false if the server has ended the
// connection. It may do so without a reply only if the line was sent after the signal, and then
// not within a reply.
func (l *load) exchange(conn net.Conn, line string) (goesOn bool) {
	conn.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(conn, line)
	sent := time.Now().UnixNano()
	got := make([]byte, len(line))
	n := 0
	if err == nil {
		n, err = io.ReadFull(conn, got)
	}
	draining := l.draining.Load()
	switch {
	case err == nil && string(got) == line:
		l.replies.Add(1)
		return true
	case n == 0 && draining != 0 && sent > draining && isEnd(err):
	default:
		l.fault("%q: received %q, %w", line, got[:n], err)
	}
	return false
}

// isEnd reports whether err is what a peer sees that has ended the connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || netconn.IsReset(err) || errors.Is(err, syscall.EPIPE)
}

// stop stops p in the middle of the load, and checks that it takes no longer than it may.
func (l *load) stop(t *testing.T, p *process) {
	t.Helper()
	l.draining.Store(time.Now().UnixNano())
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	l.clients.Wait()
	for i, err := range l.faults {
		if i == 5 {
			t.Errorf("and %d more", len(l.faults)-i)
			break
		}
		t.Error(err)
	}
}

// With a useless log, a server under load loses nothing but lines of its log, also when it stops.
func TestUselessLogUnderLoad(t *testing.T) {
	t.Parallel()
	for name, end := range logEnds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stderr, listening := end(t)
			p := startMute(t, stderr, "--log.level=debug", "--log.connections=true")
			listening()
			l := &load{dial: func() (net.Conn, error) { return net.DialTimeout(p.network, p.addr, patience) }}
			l.begin(24)
			testutil.Eventually(t, "3000 replies", func() bool { return l.replies.Load() >= 3000 }) // the log is more than a pipe holds
			l.stop(t, p)
		})
	}
}
