package natsbus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

func TestRefuseSecond(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		a, b := start(t, m.bus(url), &local{}), start(t, m.bus(url), &local{})
		ctx := context.Background()
		first := claim(t, a, "k", hub.RefuseSecond, never(t))
		_, err := b.Claim(ctx, "k", hub.RefuseSecond, never(t))
		wantErr(t, "the second Claim", err, hub.ErrTaken)
		first.Release()
		claim(t, b, "k", hub.RefuseSecond, never(t)) // at once
		_, err = a.Claim(ctx, "k", hub.RefuseSecond, never(t))
		wantErr(t, "a third Claim", err, hub.ErrTaken)
		b.Close()
		claim(t, a, "k", hub.RefuseSecond, never(t))
	})
}

func TestKickFirst(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		got, send := received()
		a := start(t, m.bus(url), &local{send: func(string, []byte) error {
			t.Error("a message at the old owner")
			return nil
		}})
		b := start(t, m.bus(url), &local{send: send})
		sender := start(t, m.bus(url), &local{})
		var lost atomic.Bool
		old := claim(t, a, "k", hub.KickFirst, func() {
			time.Sleep(50 * time.Millisecond) // Claim has to wait for it
			lost.Store(true)
		})
		claim(t, b, "k", hub.KickFirst, never(t))
		if !lost.Load() {
			t.Fatal("Claim has returned before lost")
		}
		old.Release() // touches nothing
		for range 3 {
			if err := sender.Send(context.Background(), "k", []byte("x")); err != nil {
				t.Fatal(err)
			}
			testutil.Await(t, "no message", got)
		}
		if s := a.Stats(); s.Claims != 0 || s.Lost != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestKickFirstBackAndForth(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		a, b := start(t, m.bus(url), &local{}), start(t, m.bus(url), &local{})
		lost := make(chan int, 100)
		for n := range 20 {
			bus := a
			if n%2 == 1 {
				bus = b
			}
			claim(t, bus, "k", hub.KickFirst, func() { lost <- n })
			if n == 0 {
				continue
			}
			if g := testutil.Await(t, "the old claim is not lost", lost); g != n-1 {
				t.Fatalf("claim %d is lost, want %d", g, n-1)
			}
		}
	})
}

func TestAllowBoth(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		got, send := received()
		var failing atomic.Bool
		var requests atomic.Int64
		l := &local{send: send, request: func(context.Context, string, []byte) ([]byte, error) {
			requests.Add(1)
			return nil, nil
		}}
		a := start(t, m.bus(url), l)
		b := start(t, m.bus(url), &local{
			send: func(key string, payload []byte) error {
				if failing.Load() {
					return hub.ErrUnknown
				}
				return send(key, payload)
			},
			request: l.request,
		})
		sender := start(t, m.bus(url), &local{})
		ctx := context.Background()
		claim(t, a, "k", hub.AllowBoth, never(t))
		claim(t, b, "k", hub.AllowBoth, never(t))
		testutil.Eventually(t, "not both have the key", func() bool {
			for len(got) > 0 {
				<-got
			}
			sender.Send(ctx, "k", []byte("x"))
			return testutil.Soon(100*time.Millisecond, func() bool { return len(got) == 2 })
		})
		failing.Store(true)
		if err := sender.Send(ctx, "k", nil); err != nil {
			t.Errorf("one of two has taken the message: %v", err)
		}
		if _, err := sender.Request(ctx, "k", nil); err != nil || requests.Load() != 1 {
			t.Errorf("Request: %v, %d requests", err, requests.Load())
		}
	})
}

// Kick reaches all processes that have the key, and returns no nil before each has answered.
func TestKickBoth(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		got, send := received()
		bus, g := through(m.bus(url))
		bus.Timeout = time.Hour // it keeps its connection
		sender := m.bus(url)
		sender.Timeout, sender.Heartbeat = 500*time.Millisecond, time.Hour // no process is silent for it
		start(t, sender, &local{})
		var gone atomic.Bool
		one := &local{send: func(key string, payload []byte) error {
			if gone.Load() {
				return hub.ErrUnknown
			}
			return send(key, payload)
		}}
		a, b := start(t, m.bus(url), one), start(t, bus, &local{send: send})
		start(t, m.bus(url), &local{}) // has no client with the key
		testutil.Eventually(t, "it does not know all processes", func() bool { return sender.Stats().Nodes == 4 })
		ctx := context.Background()
		wantErr(t, "Kick of nobody", sender.Kick(ctx, "k", "why"), hub.ErrUnknown)
		claim(t, a, "k", hub.AllowBoth, never(t))
		claim(t, b, "k", hub.AllowBoth, never(t))
		both := func() bool {
			for len(got) > 0 {
				<-got
			}
			err := sender.Kick(ctx, "k", "why")
			return err == nil && len(got) >= 2
		}
		testutil.Eventually(t, "not both are kicked", both)
		for len(got) > 0 {
			if text := <-got; text != "k=kick: why" {
				t.Errorf("got %q", text)
			}
		}
		gone.Store(true)
		testutil.Eventually(t, "one of two is not kicked", func() bool { return sender.Kick(ctx, "k", "why") == nil })
		gone.Store(false)
		g.stall()
		defer g.resume()
		for range 3 {
			wantErr(t, "Kick of two, of which one hangs", sender.Kick(ctx, "k", "why"), hub.ErrLost)
		}
	})
}

// Of processes that claim a new key at the same time, one gets it.
func TestClaimsAtTheSameTime(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		var buses []*natsbus.Bus
		for range 4 {
			buses = append(buses, start(t, m.bus(url), &local{}))
		}
		for _, second := range []hub.Second{hub.RefuseSecond, hub.KickFirst} {
			for round := range 20 {
				key := fmt.Sprint("key ", second, round)
				var owners atomic.Int64
				var claims sync.WaitGroup
				for _, b := range buses {
					claims.Go(func() {
						owners.Add(1)
						_, err := b.Claim(context.Background(), key, second, func() { owners.Add(-1) })
						if err != nil {
							owners.Add(-1)
						}
					})
				}
				claims.Wait()
				testutil.Eventually(t, "not one owner", func() bool { return owners.Load() == 1 })
				// The question may meet a subscription that is just ending. Then nobody answers.
				testutil.Eventually(t, "Has fails", func() bool {
					_, err := buses[0].Has(context.Background(), key)
					return err == nil
				})
			}
		}
	})
}

// A process that ends without a word gives up its keys as soon as the server sees the end of its
// connection.
func TestKeysOfADeadProcess(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		for _, second := range []hub.Second{hub.RefuseSecond, hub.KickFirst} {
			url := m.server(t).URL()
			bus, g := through(m.bus(url))
			a, b := start(t, bus, &local{}), start(t, m.bus(url), &local{})
			meet(t, a, b)
			claim(t, a, "k", second, func() {})
			g.close()
			testutil.Eventually(t, "the key is not free", func() bool {
				_, err := b.Claim(context.Background(), "k", second, never(t))
				return err == nil
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			wantErr(t, "Send to a key that is ours", b.Send(ctx, "k", nil), hub.ErrUnknown)
			testutil.Eventually(t, "a ghost", func() bool { return b.Stats().Nodes == 1 })
			// It names a process that is silent until the server says that it has gone.
			testutil.Eventually(t, "a ghost in Presence", func() bool {
				keys, err := b.Presence(context.Background(), "r")
				return len(keys) == 0 && err == nil
			})
		}
	})
}

// A key that was claimed elsewhere while the owner was away has one owner again when it is back.
func TestClaimsAfterAPartition(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		for _, second := range []hub.Second{hub.RefuseSecond, hub.KickFirst} {
			url := m.server(t).URL()
			bus, g := through(m.bus(url))
			a, b := start(t, bus, &local{}), start(t, m.bus(url), &local{})
			lostByA, lostByB := make(chan bool, 1), make(chan bool, 1)
			claim(t, a, "k", second, func() { lostByA <- true })
			claim(t, a, "other", second, never(t))
			g.close()
			testutil.Eventually(t, "it is not away", func() bool { return !a.Stats().Connected })
			wantErr(t, "Send while away", a.Send(context.Background(), "k", nil), hub.ErrAway)
			testutil.Eventually(t, "the key is not free", func() bool {
				_, err := b.Claim(context.Background(), "k", second, func() { lostByB <- true })
				return err == nil
			})
			g.open()
			loser := lostByA
			if second == hub.RefuseSecond && !m.jetStream {
				loser = lostByB // the first one keeps the key
			}
			testutil.Await(t, "nobody loses the key", loser)
			testutil.Eventually(t, "the other key is not reached", func() bool {
				has, err := b.Has(context.Background(), "other")
				return has && err == nil
			})
			if len(lostByA)+len(lostByB) != 0 {
				t.Error("both have lost the key")
			}
		}
	})
}

// A process that hangs keeps its keys for a bounded time. When it goes on, it takes no message for
// a key that is not its own any more.
func TestOwnerThatHangs(t *testing.T) {
	testutil.Long(t)
	inBothModes(t, func(t *testing.T, m mode) {
		t.Parallel()
		url := m.server(t).URL()
		bus, g := through(m.bus(url))
		bus.Timeout = 500 * time.Millisecond
		b := m.bus(url)
		b.Timeout = 500 * time.Millisecond
		if m.jetStream {
			bus.JetStream = &natsbus.JetStream{Lease: 2 * time.Second}
			b.JetStream = &natsbus.JetStream{Lease: 2 * time.Second}
		}
		// Both sides would find out that the server does not answer. Only the lease is to count.
		bus.Heartbeat = time.Hour
		lost := make(chan bool, 1)
		atOld, sendOld := received()
		start(t, bus, &local{send: sendOld})
		got, send := received()
		start(t, b, &local{send: send})
		sender := start(t, m.bus(url), &local{})
		claim(t, bus, "k", hub.KickFirst, func() { lost <- true })
		if err := sender.Send(context.Background(), "k", []byte("before")); err != nil {
			t.Fatal(err)
		}
		testutil.Await(t, "no message", atOld)
		g.stall()
		underWay := make(chan error, 1)
		go func() { underWay <- sender.Send(context.Background(), "k", []byte("under way")) }()
		_, err := b.Claim(context.Background(), "k", hub.RefuseSecond, never(t))
		wantErr(t, "Claim with RefuseSecond", err, hub.ErrTaken)
		begin := time.Now()
		claim(t, b, "k", hub.KickFirst, never(t))
		if took := time.Since(begin); took > 3*time.Second+testutil.Slack {
			t.Errorf("the key was free after %v", took)
		}
		if m.jetStream {
			testutil.Eventually(t, "the new owner is not reached", func() bool {
				return sender.Send(context.Background(), "k", []byte("x")) == nil
			})
			testutil.Await(t, "no message", got)
		}
		g.resume()
		testutil.Await(t, "the claim is not lost", lost)
		err = testutil.Await(t, "Send has no outcome", underWay)
		if m.jetStream && len(atOld) > 0 {
			t.Errorf("%s: a message at the old owner; its sender has got the error %v", <-atOld, err)
		}
	})
}

// An owner that was not there when it was asked may have come back, and have seen its entry. So it is asked
// once more before the key is taken from it.
func TestOwnerThatComesBack(t *testing.T) {
	url := modes[1].server(t).URL()
	a := start(t, modes[1].bus(url), &local{})
	b := start(t, modes[1].bus(url), &local{})
	meet(t, a, b)
	claim(t, a, "x", hub.RefuseSecond, never(t))
	wantErr(t, "the key is not taken yet", natsbus.TakeFromAbsent(t.Context(), b, "x"), natsbus.ErrConflict)
	e, err := openBucket(t, url).Get(t.Context(), "key.x")
	if err != nil || e.Value()[len(e.Value())-1] != 1 {
		t.Errorf("the entry is not marked: %q, %v", e.Value(), err)
	}
	_, err = b.Claim(t.Context(), "x", hub.RefuseSecond, never(t))
	wantErr(t, "Claim", err, hub.ErrTaken)
}

// The late release of an old claim does not touch a newer one of the same process.
func TestLateRelease(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		got, send := received()
		a, b := start(t, m.bus(url), &local{send: send}), start(t, m.bus(url), &local{})
		lost := make(chan bool, 1)
		old := claim(t, a, "k", hub.KickFirst, func() { lost <- true })
		claim(t, b, "k", hub.KickFirst, func() {})
		testutil.Await(t, "not lost", lost)
		claim(t, a, "k", hub.KickFirst, never(t))
		old.Release()
		for range 10 {
			if err := b.Send(context.Background(), "k", []byte("x")); err != nil {
				t.Fatal(err)
			}
			testutil.Await(t, "no message", got)
		}
	})
}
