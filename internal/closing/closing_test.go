package closing_test

import (
	"errors"
	"testing"
	"time"

	"wireline/internal/closing"
)

// peer simulates the connection and its peer.
type peer struct {
	now    int64
	sends  int  // bytes that the peer has sent or will send, and that are not read yet
	rate   int  // how many of them each read returns; zero for none
	fin    bool // the FIN of the peer follows
	acks   bool // the peer acknowledges
	noFIN  bool // the connection cannot be half-closed
	failed bool // some output could not be sent
	unread bool // a partial frame was read and not served

	sentFIN, read int
}

var errNoHalf = errors.New("no half-close")

// drive runs a close to its end and returns the last action. Whatever the peer does,
// the number of steps and the time are bounded.
func (p *peer) drive(t *testing.T, how closing.How, bound time.Duration) closing.Action {
	t.Helper()
	var c closing.Closing
	if c.Next(p.now) != closing.WaitOutput {
		t.Fatal("the first action is not WaitOutput")
	}
	c.Flushed(!p.failed, how, bound)
	for range 100_000 {
		switch a := c.Next(p.now); a {
		case closing.SendFIN:
			if p.noFIN {
				c.FINSent(errNoHalf, p.unread, p.now)
				continue
			}
			p.sentFIN++
			c.FINSent(nil, p.unread, p.now)
		case closing.Discard, closing.Look:
			n := min(p.rate, p.sends)
			p.sends -= n
			p.read += n
			c.Input(n, n < p.rate || n == 0, p.sends == 0 && p.fin, p.now)
		case closing.Ask:
			n := min(p.sends, c.Room())
			p.sends -= n
			p.read += n
			c.Acknowledged(n, p.acks, p.now)
		case closing.WaitInput, closing.WaitTimer:
			if c.Timer() <= p.now {
				t.Fatalf("the timer is %d at time %d, want a later time", c.Timer(), p.now)
			}
			p.now = c.Timer()
		case closing.CloseFIN, closing.CloseReset:
			return a
		default:
			t.Fatalf("unexpected action %d", a)
		}
	}
	t.Fatal("the close does not end")
	return 0
}

func TestClosing(t *testing.T) {
	const s = int64(time.Second)
	for name, c := range map[string]struct {
		peer    peer
		how     closing.How
		bound   time.Duration
		want    closing.Action
		sentFIN int
		took    [2]int64
	}{
		"plain":                        {peer{}, closing.FIN, 0, closing.CloseFIN, 0, [2]int64{0, 0}},
		"reset":                        {peer{}, closing.Reset, time.Second, closing.CloseReset, 0, [2]int64{0, 0}},
		"not all sent":                 {peer{failed: true}, closing.Linger, time.Second, closing.CloseReset, 0, [2]int64{0, 0}},
		"quiet peer":                   {peer{}, closing.Quiet, 0, closing.CloseFIN, 1, [2]int64{0, 0}},
		"quiet peer that sends":        {peer{sends: 100, rate: 10}, closing.Quiet, 0, closing.CloseFIN, 1, [2]int64{s / 2, s / 2}},
		"quiet, part of a frame read":  {peer{unread: true}, closing.Quiet, 0, closing.CloseFIN, 1, [2]int64{s / 2, s / 2}},
		"quiet peer that sends, FIN":   {peer{sends: 100, rate: 10, fin: true}, closing.Quiet, 0, closing.CloseFIN, 1, [2]int64{0, 0}},
		"lingering":                    {peer{}, closing.Linger, 0, closing.CloseFIN, 1, [2]int64{2 * s, 2 * s}},
		"lingering, FIN":               {peer{fin: true}, closing.Linger, 0, closing.CloseFIN, 1, [2]int64{0, 0}},
		"lingering, no half-close":     {peer{noFIN: true}, closing.Linger, 0, closing.CloseFIN, 0, [2]int64{0, 0}},
		"lingering, peer never stops":  {peer{sends: 1 << 30, rate: 64 << 10}, closing.Linger, 0, closing.CloseFIN, 1, [2]int64{2 * s, 2 * s}},
		"acknowledged":                 {peer{acks: true}, closing.FIN, time.Second, closing.CloseFIN, 1, [2]int64{0, 0}},
		"not acknowledged":             {peer{}, closing.FIN, time.Second, closing.CloseFIN, 1, [2]int64{s, s}},
		"acknowledging, no half-close": {peer{noFIN: true}, closing.FIN, time.Second, closing.CloseFIN, 0, [2]int64{0, 0}},
		"lingering, then acknowledged": {peer{acks: true}, closing.Linger, time.Second, closing.CloseFIN, 2, [2]int64{2 * s, 2 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.peer
			if got := p.drive(t, c.how, c.bound); got != c.want {
				t.Errorf("the last action is %d, want %d", got, c.want)
			}
			if p.sentFIN != c.sentFIN {
				t.Errorf("sent %d FINs, want %d", p.sentFIN, c.sentFIN)
			}
			if p.now < c.took[0] || p.now > c.took[1] {
				t.Errorf("took %v, want %v", time.Duration(p.now), time.Duration(c.took[0]))
			}
			if most := 2*closing.FullSpeed + 300*(64<<10); p.read > most {
				t.Errorf("discarded %d bytes from a peer that never stops sending, want at most %d", p.read, most)
			}
		})
	}
}

// Input wakes a lingering close, and a drain shortens it.
func TestInputWakesLingering(t *testing.T) {
	var c closing.Closing
	c.Flushed(true, closing.Linger, 0)
	c.FINSent(nil, false, 0)
	c.Input(0, true, false, 0)
	if c.Next(0) != closing.WaitInput {
		t.Fatal("a close without input does not wait for input")
	}
	c.Arrived()
	if c.Next(1) != closing.Discard {
		t.Error("the new input is not discarded")
	}
	c.Input(5, true, false, 1)
	c.Shorten(10)
	if got, want := c.Timer(), 10+int64(closing.ShortLinger); got != want {
		t.Errorf("after Shorten the timer is %d, want %d", got, want)
	}
	c.Shorten(20)
	if got, want := c.Timer(), 10+int64(closing.ShortLinger); got != want {
		t.Errorf("after a second Shorten the timer is %d, want %d", got, want)
	}
}

// After the process was stopped (SIGSTOP) for longer than a close lingers, what waits is discarded
// before the close: otherwise the kernel would send a RST. A peer that never stops sending is
// closed after FullSpeed.
func TestLateLingering(t *testing.T) {
	for _, test := range []struct{ waits, reads int }{{100_000, 4}, {1 << 30, closing.FullSpeed>>15 + 1}} {
		var c closing.Closing
		c.Flushed(true, closing.Linger, 0)
		c.FINSent(nil, false, 0)
		c.Input(0, true, false, 0)
		c.Arrived()
		now, reads := int64(time.Hour), 0
		for c.Next(now) == closing.Discard {
			n := min(32<<10, test.waits)
			test.waits -= n
			reads++
			c.Input(n, n < 32<<10, false, now)
		}
		if c.Next(now) != closing.CloseFIN || reads != test.reads {
			t.Errorf("%d reads, want %d; then %v", reads, test.reads, c.Next(now))
		}
	}
}

// FuzzClosing checks that any sequence of results ends the close within its time limit.
// The close ends with a RST only if that was asked for or output has failed, and never
// sends two FINs in a row.
func FuzzClosing(f *testing.F) {
	f.Add(uint8(3), uint8(0), true, []byte{0, 1, 2, 3, 4, 5})
	f.Add(uint8(2), uint8(9), true, []byte{5, 5, 0, 2, 200, 7, 7, 7, 1})
	f.Add(uint8(0), uint8(1), false, []byte{})
	f.Fuzz(func(t *testing.T, how, bound uint8, ok bool, steps []byte) {
		var c closing.Closing
		now, end := int64(0), int64(10*time.Second)+int64(bound)*int64(time.Second)
		h := closing.How(how % 4)
		c.Flushed(ok, h, time.Duration(bound)*time.Second)
		next := func() byte {
			if len(steps) == 0 {
				return 1
			}
			b := steps[0]
			steps = steps[1:]
			return b
		}
		last := closing.WaitOutput
		for range 100_000 {
			a := c.Next(now)
			if b := c.Next(now); b != a {
				t.Fatalf("Next returned %d, then %d", a, b)
			}
			switch a {
			case closing.SendFIN:
				if last == closing.SendFIN && h != closing.Quiet && h != closing.Linger {
					t.Fatal("two FINs in a row")
				}
				var err error
				if next()%5 == 0 {
					err = errNoHalf
				}
				c.FINSent(err, next()%4 == 0, now)
			case closing.Discard, closing.Look:
				n := int(next()) << 12
				c.Input(n, next()%2 == 0, next()%9 == 0, now)
			case closing.Ask:
				if c.Room() < 0 {
					t.Fatalf("Room is %d", c.Room())
				}
				c.Acknowledged(min(int(next())<<12, c.Room()), next()%7 == 0, now)
			case closing.WaitInput, closing.WaitTimer:
				if c.Timer() <= now {
					t.Fatalf("the timer is %d at time %d, want a later time", c.Timer(), now)
				}
				switch next() % 3 {
				case 0:
					c.Arrived()
				case 1:
					now = c.Timer()
				case 2:
					c.Shorten(now)
				}
			case closing.CloseFIN, closing.CloseReset:
				if reset := h == closing.Reset || !ok; reset != (a == closing.CloseReset) {
					t.Fatalf("the last action is %d", a)
				}
				return
			default:
				t.Fatalf("unexpected action %d", a)
			}
			last = a
			now += int64(next()) * int64(time.Millisecond)
			if now > end {
				t.Fatalf("the close has not ended after %v", time.Duration(now))
			}
		}
		t.Fatal("the close does not end")
	})
}
