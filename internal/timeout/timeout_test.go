package timeout

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/eventloop"
)

var errLate = errors.New("late")

const limit = 10 * time.Second

// conn is a connection of a process that was stopped: a Read finds nothing until its deadline has
// passed, whatever has arrived.
type conn struct {
	net.Conn
	arrived     string
	interrupted chan struct{}
	missing     bool // Read does not even look
}

func newConn(arrived string) *conn {
	return &conn{arrived: arrived, interrupted: make(chan struct{}, 1)}
}

func (c *conn) SetReadDeadline(t time.Time) error {
	switch {
	case t == past:
		c.interrupted <- struct{}{}
	case !t.IsZero():
		time.AfterFunc(time.Until(t), func() { c.interrupted <- struct{}{} })
		c.missing = true
	}
	return nil
}

func (c *conn) Read(p []byte) (n int, err error) {
	if c.missing && c.arrived != "" {
		n = copy(p, c.arrived)
		c.arrived, c.missing = c.arrived[n:], false
		return n, nil
	}
	<-c.interrupted
	return 0, os.ErrDeadlineExceeded
}

// run runs test in a bubble, with a timeout.
func run(t *testing.T, test func(limit *Timeout, began time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bound := New(t.Context(), limit, errLate)
		defer bound.Stop()
		test(bound, time.Now())
	})
}

// wantEnd demands that the timeout ends the context that long after began.
func wantEnd(t *testing.T, bound *Timeout, began time.Time, after time.Duration) {
	t.Helper()
	<-bound.Done()
	if took := time.Since(began); took != after {
		t.Errorf("ended after %v, want %v", took, after)
	}
	if err := context.Cause(bound); err != errLate {
		t.Errorf("cause %v", err)
	}
}

// A Read of a peer that is silent ends with the timeout.
func TestSilent(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) {
		_, err := bound.Conn(newConn("")).Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		wantEnd(t, bound, began, limit+LookTime)
	})
}

// What waits at the end of the timeout is read. If the process was not stopped, that gives no more
// than a second: a peer must not gain the whole time again by sending slowly.
func TestArrivedInTime(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) {
		c := newConn("hello")
		timed, p := bound.Conn(c), make([]byte, 10)
		if n, err := timed.Read(p); string(p[:n]) != "hello" || err != nil {
			t.Fatalf("%q, %v", p[:n], err)
		}
		wantEnd(t, bound, began, limit+min(grace, limit))
	})
}

// If the process was stopped, what waits gives the whole time again.
func TestArrivedWhileStopped(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) {
		read := make(chan string)
		go func() {
			p := make([]byte, 10)
			n, _ := bound.Conn(newConn("hello")).Read(p)
			read <- string(p[:n])
		}()
		time.Sleep(limit / 2)
		bound.mu.Lock()
		bound.due = time.Now().Add(-eventloop.LateTimer - 1)
		bound.mu.Unlock()
		bound.expire()
		if got := <-read; got != "hello" {
			t.Errorf("read %q", got)
		}
		now := time.Now()
		wantEnd(t, bound, now, limit-now.Sub(began.Add(limit/2)))
	})
}

// The same if it is read before the timer says that it is late: the peer has yet to answer.
func TestReadBeforeTheTimer(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) {
		c := &ready{newConn("hello")}
		timed, p := bound.Conn(c), make([]byte, 10)
		time.Sleep(limit / 2)
		bound.mu.Lock()
		bound.due = time.Now().Add(-eventloop.LateTimer - 1)
		bound.mu.Unlock()
		if n, err := timed.Read(p); string(p[:n]) != "hello" || err != nil {
			t.Fatalf("%q, %v", p[:n], err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			timed.Read(p)
		}()
		synctest.Wait()
		bound.expire() // at last
		wantEnd(t, bound, began, limit/2+limit)
		c.interrupted <- struct{}{}
		<-done
	})
}

// ready is a conn of a process that runs: what has arrived is read at once.
type ready struct{ *conn }

func (r *ready) Read(p []byte) (n int, err error) {
	r.missing = true
	return r.conn.Read(p)
}

// This side's own work gets a second more.
func TestBusy(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) { wantEnd(t, bound, began, limit+grace) })
	synctest.Test(t, func(t *testing.T) {
		bound := New(t.Context(), grace/4, errLate)
		defer bound.Stop()
		wantEnd(t, bound, time.Now(), grace/2)
	})
}

// A timer that is late says that the process was stopped: then it gets the whole time again.
func TestStopped(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) {
		time.Sleep(limit - 1)
		bound.mu.Lock()
		bound.due = bound.due.Add(-eventloop.LateTimer - 2)
		bound.mu.Unlock()
		bound.expire()
		wantEnd(t, bound, began, 2*limit-1)
	})
}

// What has failed at the deadline is repeated once, if the process was stopped.
func TestAgain(t *testing.T) {
	run(t, func(bound *Timeout, began time.Time) {
		time.Sleep(limit + 1)
		if bound.Again() {
			t.Error("again, though the process was not stopped")
		}
	})
	run(t, func(bound *Timeout, began time.Time) {
		bound.mu.Lock()
		bound.due = bound.due.Add(-limit - eventloop.LateTimer - 1)
		bound.mu.Unlock()
		if !bound.Again() || bound.Again() {
			t.Error("want once")
		}
		if due, _ := bound.Deadline(); !due.Equal(began.Add(limit)) {
			t.Errorf("deadline %v", due)
		}
		wantEnd(t, bound, began, limit)
	})
}

// The deadline of the context is that of the timeout or of the parent, whichever is first.
func TestDeadline(t *testing.T) {
	parent, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, d := range []time.Duration{time.Minute, 2 * time.Hour} {
		bound := New(parent, d, errLate)
		defer bound.Stop()
		due, ok := bound.Deadline()
		if got := time.Until(due); !ok || (got-min(d, time.Hour)).Abs() > 30*time.Second {
			t.Errorf("%v, %v", got, ok)
		}
	}
}

// After Done and Stop the connection is the connection alone.
func TestDone(t *testing.T) {
	bound := New(t.Context(), time.Hour, errLate)
	c := newConn("hello")
	c.missing = true
	timed := bound.Conn(c)
	timed.Done()
	bound.Stop()
	if n, err := timed.Read(make([]byte, 10)); n != 5 || err != nil || timed.NetConn() != c {
		t.Errorf("%d, %v", n, err)
	}
	if err := context.Cause(bound); err != context.Canceled {
		t.Errorf("cause %v", err)
	}
}
