package proxy

import (
	"slices"
	"testing"
	"time"

	"wireline/handler"
)

// In a drain, a pair whose last byte came from the client waits for the reply.
func TestDrainWaitsForAReply(t *testing.T) {
	const (
		quiet = 20 * time.Millisecond
		reply = 1500 * time.Millisecond
		past  = 2 * time.Second // longTime
	)
	ask, answer := clientData, upstreamData
	tests := []struct {
		name   string
		before []modelEvent // the drain
		after  []modelEvent
		want   time.Duration // from the drain to the FINs
		busy   bool
	}{
		{"nothing was ever sent", []modelEvent{longTime}, nil, 0, false},
		{"answered", []modelEvent{ask, answer, longTime}, nil, 0, false},
		{"answered just now", []modelEvent{ask, answer}, nil, quiet, true},
		{"the upstream speaks first", []modelEvent{answer, longTime}, nil, 0, false},
		{"asked long ago", []modelEvent{ask, longTime}, nil, reply, true},
		{"asked just now", []modelEvent{answer, ask}, nil, reply, true},
		{"the reply comes", []modelEvent{ask}, []modelEvent{shortTime, answer}, 2 * quiet, true},
		{"the client's FIN is behind its request", []modelEvent{ask, clientFIN}, []modelEvent{shortTime, answer}, 2 * quiet, true},
		{"more of the request gives no more time", []modelEvent{ask}, []modelEvent{shortTime, ask}, reply, true},
		{"another request does", []modelEvent{ask}, []modelEvent{shortTime, answer, ask}, quiet + reply, true},
		{"the upstream has ended", []modelEvent{upstreamFIN, ask, longTime}, nil, 0, false},
		{"the upstream takes nothing", []modelEvent{upstreamStall, ask, ask, longTime}, []modelEvent{longTime, upstreamStall}, past + quiet, true},
	}
	for _, test := range tests {
		for kindName, kinds := range modelKinds {
			if kinds[clientSide].oneWay && slices.Contains(test.before, upstreamFIN) {
				continue // that FIN ends the pair
			}
			m := newModel(Config{DrainQuiet: quiet, DrainReply: reply}, kinds)
			play := func(events []modelEvent) {
				for _, e := range events {
					m.apply(e)
				}
			}
			play(test.before)
			began := m.now
			busy := m.pair.Drain()
			m.pair.Wake()
			m.run()
			play(test.after)
			for range 1000 {
				if m.pair.wire.phase >= parting || m.nextTimer() == nil {
					break
				}
				m.pass(time.Duration(max(m.nextTimer().timer-m.now, 1)))
			}
			took := time.Duration(m.now - began)
			if end := m.pair.wire.end; end == nil || end.reason != handler.ReasonDrain {
				t.Errorf("%s (%s): ended as %+v", test.name, kindName, end)
			}
			if busy != test.busy || took < test.want || took > test.want+2*soon {
				t.Errorf("%s (%s): busy %v, took %v; want %v, %v", test.name, kindName, busy, took, test.busy, test.want)
			}
		}
	}
}

// With DrainReply below zero only DrainQuiet counts, and so it does without a reply in time.
func TestDrainReplySettings(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 3 * time.Second, -1: -1, time.Minute: time.Minute} {
		if got := (&Config{DrainReply: set}).drainReply(); got != want {
			t.Errorf("%v means %v, want %v", set, got, want)
		}
	}
}
