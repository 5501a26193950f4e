package natsbus_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// device is a connection to a process of a cluster.
type device struct {
	net.Conn
	lines chan string // closed at the end of the connection
}

func dialDevice(t *testing.T, address string) *device {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	d := &device{conn, make(chan string, 1<<20)}
	go func() {
		defer close(d.lines)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			d.lines <- lines.Text()
		}
	}()
	return d
}

// join connects and joins. It tries again if Join fails: a process that was stopped needs a new lease.
func join(t *testing.T, address, key string) (d *device) {
	t.Helper()
	testutil.Eventually(t, "Join fails", func() bool {
		d = dialDevice(t, address)
		fmt.Fprintf(d, "join %s\n", key)
		return testutil.Await(t, "no answer to join", d.lines) == "joined"
	})
	return d
}

// With JetStream, the old owner of a key gets no message that was sent after the Join at the new one
// has returned, also if the old owner's process was stopped meanwhile, and goes on then. Messages
// are under way all the time.
func TestTakeOverFromAStoppedProcess(t *testing.T) {
	testutil.Long(t)
	c := newCluster(t, 2*time.Second, 0)
	for round := range 3 {
		key := fmt.Sprint("key", round)
		old := join(t, c.addresses[0], key)
		load := startLoad(t, c.addresses[2], key)
		load.awaitOK(t)
		stopped := c.apps[0].cmd.Process
		if round > 0 { // the first round is a take-over from a process that answers
			stopped.Signal(syscall.SIGSTOP)
		}
		begin := time.Now()
		late := join(t, c.addresses[1], key)
		border := load.sent.Load() // these may have been under way before the Join has returned
		if took := time.Since(begin); took > 4*time.Second+testutil.Slack {
			t.Errorf("the key was free after %v", took)
		}
		load.awaitOK(t)
		stopped.Signal(syscall.SIGCONT)
		for line := range old.lines { // until the old connection is closed
			var n int64
			if fmt.Sscanf(line, "s %d", &n); n > border {
				t.Errorf("round %d: the old owner has got message %d; the last before the Join was %d", round, n, border)
			}
		}
		load.awaitOK(t)
		load.end()
		t.Logf("round %d: %d messages, %d before the Join, %d arrived at the new owner", round, load.sent.Load(), border, len(late.lines))
	}
}

// load sends to a key, from several clients of one process, until it is told to end.
type load struct {
	sent atomic.Int64 // the number of the last message
	ok   atomic.Int64
	stop atomic.Bool
	done sync.WaitGroup
}

func startLoad(t *testing.T, address, key string) *load {
	l := &load{}
	for range 4 {
		d := dialDevice(t, address)
		l.done.Go(func() {
			for !l.stop.Load() {
				fmt.Fprintf(d, "send %d %s\n", l.sent.Add(1), key)
				if line := <-d.lines; strings.HasSuffix(line, " ok") {
					l.ok.Add(1)
				}
			}
		})
	}
	return l
}

// awaitOK waits until some more messages were sent without an error.
func (l *load) awaitOK(t *testing.T) {
	t.Helper()
	want := l.ok.Load() + 20
	testutil.Eventually(t, "messages do not arrive", func() bool { return l.ok.Load() >= want })
}

func (l *load) end() {
	l.stop.Store(true)
	l.done.Wait()
}
