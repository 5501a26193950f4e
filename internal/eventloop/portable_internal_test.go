package eventloop

import (
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// silent is a Handler that only counts.
type silent struct{ expired int }

func (s *silent) Ready(*Worker, Event) bool { return false }
func (s *silent) Writable()                 {}
func (s *silent) Slow()                     {}
func (s *silent) Expired()                  { s.expired++ }

// deadlined is a net.Conn that notes its read deadline.
type deadlined struct {
	net.Conn
	at time.Time
}

func (d *deadlined) SetReadDeadline(t time.Time) error {
	d.at = t
	return nil
}

// A Wake that comes to interrupt a wait which is over sets no deadline: the connection
// may have another owner.
func TestWakeThatComesTooLate(t *testing.T) {
	conn, peer := net.Pipe()
	defer peer.Close()
	d := &deadlined{Conn: conn}
	p := NewPortable(d, new(silent), nil)
	p.interruptRead()
	p.Remove()
	p.interruptRead()
	if !d.at.IsZero() {
		t.Errorf("the read deadline is %v", d.at)
	}
}

// A timer that has fired when SetTimer moves it, or when the connection is closed, does
// nothing.
func TestTimerThatFiresTooLate(t *testing.T) {
	conn, peer := net.Pipe()
	defer peer.Close()
	h := new(silent)
	p := NewPortable(conn, h, nil)
	p.SetTimer(p.Now() + int64(time.Hour))
	p.expire()
	p.SetTimer(0)
	p.expire()
	p.SetTimer(p.Now() + int64(time.Hour))
	p.Close()
	p.expire()
	if h.expired != 0 {
		t.Errorf("Expired was called %d times", h.expired)
	}
	if p.timer.Stop() {
		t.Error("Close has not stopped the timer")
	}
}

// closer is a Handler that closes its connection when something happens.
type closer struct {
	silent
	*Portable
}

func (c *closer) Ready(*Worker, Event) bool {
	c.Close()
	return false
}

// reading is a net.Conn whose Read notes the deadline that is in force.
type reading struct {
	deadlined
	deadlines chan time.Time
}

func (r *reading) Read(p []byte) (int, error) {
	r.deadlines <- r.at
	return r.Conn.Read(p)
}

// Look's deadline is cleared before the connection waits for input again.
func TestLookLeavesNoDeadline(t *testing.T) {
	conn, peer := net.Pipe()
	ended := make(chan bool)
	r := &reading{deadlined{Conn: conn}, make(chan time.Time, 10)}
	h := new(closer)
	h.Portable = NewPortable(r, h, func() { close(ended) })
	p := h.Portable
	go peer.Write([]byte("a"))
	p.Look(make([]byte, 10))
	if at := <-r.deadlines; at.IsZero() {
		t.Error("Look has no deadline")
	}
	p.Read(make([]byte, 1))
	p.Start()
	if at := <-r.deadlines; !at.IsZero() {
		t.Errorf("the wait for input has the deadline %v", at)
	}
	peer.Close()
	<-ended
}

// starved is a net.Conn whose reads find nothing, and return after the times in took; later reads
// return a byte.
type starved struct {
	net.Conn
	took  []time.Duration
	reads int
}

func (s *starved) SetReadDeadline(time.Time) error { return nil }

func (s *starved) Read(p []byte) (int, error) {
	s.reads++
	if s.reads > len(s.took) {
		return copy(p, "x"), nil
	}
	time.Sleep(s.took[s.reads-1])
	return 0, os.ErrDeadlineExceeded
}

// A Look whose deadline was over before it could look is repeated, but not for ever.
func TestLookOnABusyMachine(t *testing.T) {
	for _, test := range []struct {
		took     []time.Duration
		n, reads int
	}{
		{nil, 1, 1},
		{[]time.Duration{lookTime}, 0, 1},
		{[]time.Duration{5 * lookTime, 50 * lookTime}, 1, 3},
		{[]time.Duration{5 * lookTime, lookTime}, 0, 2},
		{slices.Repeat([]time.Duration{5 * lookTime}, 2*maxLooks), 0, maxLooks},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := &starved{took: test.took}
			o := &overlapped{Portable: NewPortable(conn, new(silent), nil)}
			n, _, err := o.look(make([]byte, 1))
			if n != test.n || err != nil || conn.reads != test.reads {
				t.Errorf("%v: %d, %v after %d reads; want %d after %d", test.took, n, err, conn.reads, test.n, test.reads)
			}
		})
	}
}
