package proxy

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
)

// modelEvent is something that happens to a pair.
type modelEvent uint8

const (
	clientData modelEvent = iota
	upstreamData
	clientFIN
	upstreamFIN
	clientRST
	upstreamRST
	clientStall // or takes again
	upstreamStall
	drainEvent
	cutEvent
	shortTime // enough for an upstream's quiet time, and for a drain
	longTime  // enough for a reset to give up
	clientHold
	modelEvents
)

var eventNames = [...]string{"client data", "upstream data", "client FIN", "upstream FIN", "client RST",
	"upstream RST", "client stall", "upstream stall", "drain", "cut", "20 ms", "2 s", "client hold"}

func (e modelEvent) String() string { return eventNames[e] }

// apply lets e happen. It reports false if that cannot be, or changes nothing.
func (m *model) apply(e modelEvent) bool {
	c, u := m.ends[clientSide], m.ends[upstreamSide]
	of := c
	if e == upstreamData || e == upstreamFIN || e == upstreamRST || e == upstreamStall {
		of = u
	}
	if m.closedAt != 0 || of.closed {
		return false
	}
	switch e {
	case clientData, upstreamData:
		if of.fin || of.rst {
			return false
		}
		of.sends(3)
	case clientFIN, upstreamFIN:
		if of.fin || of.rst {
			return false
		}
		of.sendsFIN()
	case clientRST, upstreamRST:
		if of.rst {
			return false
		}
		of.resets()
	case clientStall, upstreamStall:
		of.setStalled(!of.stalled)
	case drainEvent:
		if m.pair.wire.draining {
			return false
		}
		m.pair.Drain()
		m.pair.Wake()
	case cutEvent:
		m.pair.Cut()
	case shortTime:
		m.pass(20 * time.Millisecond)
	case longTime:
		m.pass(2 * time.Second)
	case clientHold:
		if c.held || !c.overlapped {
			return false
		}
		c.held = true
	}
	m.run()
	return true
}

const (
	modelIdle = 10 * time.Second

	// modelBound is the time within which a reset has arrived, when nothing else happens:
	// a polled side is asked once in sentTime, a stalled one has sentTime.
	modelBound = 2*sentTime + 3*soon
)

// play lets the events happen, and then time go by until the pair has ended. It returns
// false if one of them cannot happen.
func play(cfg Config, kinds [2]kind, events []modelEvent) (wrong []string, possible bool) {
	m := newModel(cfg, kinds)
	var reset [2]int64 // when it was
	for _, e := range events {
		if !m.apply(e) {
			return nil, false
		}
		for id, c := range m.ends {
			if c.rst && reset[id] == 0 {
				reset[id] = m.now
			}
		}
	}
	last := m.now
	for range 10_000 {
		c := m.nextTimer()
		if c == nil || m.closedAt != 0 {
			break
		}
		m.pass(time.Duration(max(c.timer-m.now, 1)))
	}
	m.check(last, reset)
	return m.wrong, true
}

// check looks at the end of a pair.
func (m *model) check(last int64, reset [2]int64) {
	if m.closedAt == 0 || m.done != 1 || len(m.records) != 1 {
		m.errorf("it hangs: phase %d, %d records, done %d times", m.pair.wire.phase, len(m.records), m.done)
		return
	}
	r := m.records[0]
	if took := time.Duration(m.closedAt - last); took > 2*modelIdle {
		m.errorf("it took %v to end", took)
	}
	c, u := m.ends[clientSide], m.ends[upstreamSide]
	if r.BytesIn > int64(c.read) || r.BytesOut != int64(c.got+c.buffered) {
		m.errorf("%d bytes in, %d out, of %d and %d", r.BytesIn, r.BytesOut, c.read, c.got+c.buffered)
	}
	for id, from := range m.ends {
		to := from.other()
		if took := time.Duration(m.closedAt - max(last, reset[id])); from.rst && !c.held && took > modelBound {
			m.errorf("%v from the %s's reset to the end", took, sideID(id).party())
		}
		if r.Reason != handler.ReasonReset || r.By != sideID(id).party() || c.held {
			continue
		}
		if !to.gotRST {
			m.errorf("the %s's reset does not arrive", r.By)
		}
		if !to.tooSlow && !to.rst && to.got != from.sent {
			m.errorf("the %s's reset arrives after %d of %d bytes", r.By, to.got, from.sent)
		}
	}
	toUpstream, toClient := u.got+u.buffered, c.got+c.buffered
	// A side that resets its connection right after its FIN has closed it: what comes then is lost.
	if r.Reason == handler.ReasonFIN && !c.held && !c.oneWay && (toUpstream != c.sent && !u.rst || toClient != u.sent && !c.rst) {
		m.errorf("ended with FINs, after %d of %d and %d of %d bytes", toUpstream, c.sent, toClient, u.sent)
	}
	if m.pair.client.flow.waits() || m.pair.upstream.flow.waits() {
		m.errorf("a buffer is kept")
	}
}

// modelConfigs and modelKinds are what the events are played with.
var (
	modelConfigs = map[string]Config{
		"plain": {IdleTimeout: modelIdle, DrainQuiet: 20 * time.Millisecond, DrainReply: time.Second},
		"reuse": {IdleTimeout: modelIdle, DrainQuiet: 20 * time.Millisecond, DrainReply: -1, Pool: PoolConfig{Size: 1, Reuse: true, ReuseQuiet: 20 * time.Millisecond}},
	}
	modelKinds = map[string][2]kind{
		"loop":       {},
		"overlapped": {{overlapped: true}, {overlapped: true}},
		"mixed":      {{overlapped: true}, {}},
		"one way":    {{overlapped: true, oneWay: true}, {}},
	}
)

// TestEveryOrder plays every order of events up to a length. What a pair does depends on
// nothing else.
func TestEveryOrder(t *testing.T) {
	for cfgName, cfg := range modelConfigs {
		for kindName, kinds := range modelKinds {
			t.Run(cfgName+", "+kindName, func(t *testing.T) {
				t.Parallel()
				length := 4
				switch {
				case testutil.Reduced():
					length = 3
				case cfgName == "plain" && (kindName == "loop" || kindName == "overlapped"):
					length = 5
				}
				played := 0
				everyOrder(length, func(events []modelEvent) (goOn bool) {
					wrong, possible := play(cfg, kinds, events)
					if !possible {
						return false
					}
					played++
					if len(wrong) > 0 {
						t.Errorf("%s: %s", names(events), strings.Join(wrong, "; "))
					}
					return !t.Failed()
				})
				t.Logf("%d orders", played)
			})
		}
	}
}

// everyOrder calls f with every list of up to length events. Those that begin with one for
// which f returns false are left out.
func everyOrder(length int, f func([]modelEvent) bool) {
	var extend func(events []modelEvent)
	extend = func(events []modelEvent) {
		if !f(events) || len(events) == length {
			return
		}
		for e := range modelEvents {
			extend(append(events, e))
		}
	}
	extend(make([]modelEvent, 0, length))
}

func names(events []modelEvent) string { return strings.Trim(fmt.Sprint(events), "[]") }

// FuzzWire plays longer lists of events.
func FuzzWire(f *testing.F) {
	f.Add(uint8(0), []byte{0, 1, 2, 3})
	f.Add(uint8(1), []byte{6, 1, 1, 4, 11})
	f.Add(uint8(7), []byte{0, 1, 2, 10})
	f.Fuzz(func(t *testing.T, setup uint8, text []byte) {
		cfg := modelConfigs["plain"]
		if setup&1 != 0 {
			cfg = modelConfigs["reuse"]
		}
		if setup&2 != 0 {
			cfg.HalfCloseTimeout = 3 * time.Second
		}
		kinds := [2]kind{{overlapped: setup&4 != 0, oneWay: setup&8 != 0}, {overlapped: setup&16 != 0}}
		var events []modelEvent
		for _, b := range text[:min(len(text), 40)] {
			events = append(events, modelEvent(b%byte(modelEvents)))
		}
		if wrong, _ := play(cfg, kinds, events); len(wrong) > 0 {
			t.Errorf("%s: %s", names(events), strings.Join(wrong, "; "))
		}
	})
}

// A side that closes its connection sends a FIN, and resets what arrives after it, or only resets
// what it has not read. If it had an answer, that is recorded as a FIN.
func TestCloseIsAFIN(t *testing.T) {
	const (
		answer = 1 << iota // the side gets some bytes
		fin                // and sends its FIN,
		more               // some bytes, and
		other              // the other side's FIN is passed on to it, in this order
	)
	reset, pipe := syscall.ECONNRESET, syscall.EPIPE
	for _, test := range []struct {
		name   string
		before int
		after  time.Duration
		err    error
		want   handler.Reason
	}{
		{"reset", 0, 0, reset, handler.ReasonReset},
		{"answer, reset", answer, 0, reset, handler.ReasonReset},
		{"FIN that was not read", answer, 0, pipe, handler.ReasonFIN},
		{"FIN, reset", fin, 0, pipe, handler.ReasonReset},
		{"answer, FIN, reset", answer | fin, closedTime - 1, pipe, handler.ReasonFIN},
		{"on another system", answer | fin, closedTime - 1, reset, handler.ReasonFIN},
		{"reset later", answer | fin, closedTime, pipe, handler.ReasonReset},
		{"both FINs", answer | fin | other, 0, pipe, handler.ReasonFIN},
		{"the other's FIN", answer | other, 0, reset, handler.ReasonFIN},
		{"the other's FIN, more", answer | other | more, 0, reset, handler.ReasonReset},
		{"the other's FIN, reset later", answer | other, closedTime, reset, handler.ReasonReset},
		{"another error", answer | fin, 0, syscall.EHOSTUNREACH, handler.ReasonIOError},
	} {
		for _, s := range []sideID{clientSide, upstreamSide} {
			t.Run(fmt.Sprint(s.party(), " ", test.name), func(t *testing.T) {
				x := &wire{cfg: &Config{}}
				x.start(1)
				bytes := func(from sideID) {
					x.received(from, false, 5, true, nil, 10)
					x.wrote(from, 5, false, nil, 10)
				}
				if test.before&answer != 0 {
					bytes(s.other())
				}
				if test.before&more != 0 {
					bytes(s)
				}
				if test.before&fin != 0 {
					x.received(s, false, 0, false, io.EOF, 10)
				}
				if test.before&other != 0 {
					x.received(s.other(), false, 0, false, io.EOF, 10)
					x.sending(s)
				}
				x.received(s, false, 0, false, test.err, 10+int64(test.after))
				by := s.party()
				if test.want == handler.ReasonFIN && test.before&(fin|other) == other {
					by = s.other().party()
				}
				if x.end.by != by || x.end.reason != test.want {
					t.Errorf("%s, %s; want %s, %s", x.end.by, x.end.reason, by, test.want)
				}
			})
		}
	}
}
