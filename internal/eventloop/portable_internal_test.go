package eventloop

import (
	"net"
	"testing"
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
