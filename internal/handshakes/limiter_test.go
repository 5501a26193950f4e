package handshakes

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// turns are handshakes in a bubble.
type turns struct {
	t   *testing.T
	all Limiter

	mu    sync.Mutex
	order []string // who got a place, in this order
}

// come has a handshake wait for a place. It is in the queue when come returns.
func (b *turns) come(name string, advanced bool) *turn {
	one := &turn{advanced: advanced}
	go func() {
		if err := b.all.acquire(b.t.Context(), one); err != nil {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.order = append(b.order, name)
	}()
	synctest.Wait()
	return one
}

func (b *turns) leave(one *turn) {
	b.all.release(one)
	synctest.Wait()
}

func (b *turns) want(computing, waiting int, order ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, w := b.all.Counts(); c != computing || w != waiting || !slices.Equal(b.order, order) {
		b.t.Errorf("%d computing, %d waiting, %v; want %d, %d, %v", c, w, b.order, computing, waiting, order)
	}
}

func inTurns(t *testing.T, limit int, test func(b *turns)) {
	synctest.Test(t, func(t *testing.T) { test(&turns{t: t, all: Limiter{Limit: limit}}) })
}

// Handshakes get a place in the order in which they come, but those that have sent their
// flight go first.
func TestHandshakesInOrder(t *testing.T) {
	inTurns(t, 2, func(b *turns) {
		one, two := b.come("1", false), b.come("2", false)
		three, four := b.come("3", false), b.come("4", false)
		five := b.come("5", true)
		b.want(2, 3, "1", "2")
		b.leave(one)
		b.want(2, 2, "1", "2", "5")
		b.leave(one) // twice does nothing
		b.want(2, 2, "1", "2", "5")
		b.leave(five)
		b.leave(two)
		b.want(2, 0, "1", "2", "5", "3", "4")
		b.leave(three)
		b.leave(four)
		b.want(0, 0, "1", "2", "5", "3", "4")
	})
}

// A limit that grows lets those go on that wait; a smaller one is waited for.
func TestSetLimit(t *testing.T) {
	inTurns(t, 1, func(b *turns) {
		one, two := b.come("1", false), b.come("2", false)
		three := b.come("3", false)
		b.all.SetLimit(2)
		synctest.Wait()
		b.want(2, 1, "1", "2")
		b.all.SetLimit(1)
		b.leave(one)
		b.want(1, 1, "1", "2")
		b.leave(two)
		b.want(1, 0, "1", "2", "3")
		b.leave(three)
	})
}

// A context that ends takes a handshake out of the queue.
func TestHandshakesGiveUp(t *testing.T) {
	inTurns(t, 1, func(b *turns) {
		one := b.come("1", false)
		ctx, cancel := context.WithTimeoutCause(b.t.Context(), 100*time.Millisecond, errors.New("late"))
		defer cancel()
		if err := b.all.acquire(ctx, &turn{}); err == nil || err.Error() != "late" {
			b.t.Errorf("acquire returns %v, want the cause", err)
		}
		b.want(1, 0, "1")
		b.leave(one)
		b.want(0, 0, "1")
	})
}

// A place that is given at the moment at which a context ends is not lost.
func TestHandshakesLoseNoPlace(t *testing.T) {
	all := Limiter{Limit: 1}
	for range 2000 {
		var one, two turn
		if err := all.acquire(t.Context(), &one); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error)
		go func() { waiting <- all.acquire(ctx, &two) }()
		go cancel()
		all.release(&one)
		if <-waiting == nil {
			all.release(&two)
		}
		if c, w := all.Counts(); c != 0 || w != 0 {
			t.Fatalf("%d computing, %d waiting in the end", c, w)
		}
	}
}

// A turn ends after 250 ms if others wait, and not before.
func TestHandshakesThatTakeLong(t *testing.T) {
	inTurns(t, 1, func(b *turns) {
		one := b.come("1", false)
		time.Sleep(time.Hour) // nobody waits
		b.want(1, 0, "1")
		two := b.come("2", false)
		time.Sleep(time.Millisecond)
		b.want(1, 0, "1", "2")
		b.come("3", false)
		b.come("4", false)
		time.Sleep(maxTurn - 2*time.Millisecond)
		b.want(1, 2, "1", "2")
		b.leave(one) // which has no place any more
		b.want(1, 2, "1", "2")
		time.Sleep(2 * time.Millisecond)
		b.want(1, 1, "1", "2", "3")
		b.leave(two)
		time.Sleep(maxTurn)
		b.want(1, 0, "1", "2", "3", "4")
	})
}

func TestHandshakesDefault(t *testing.T) {
	var h Limiter
	if h.max() < 1 {
		t.Errorf("%d places", h.max())
	}
}
