package natsbus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/hub"
)

// claimState is where a claim is in its life. It never goes back.
type claimState int

const (
	claiming claimState = iota // Claim has not returned
	held                       // the key is ours
	losing                     // another process takes it over: lost is running, or about to
	ended                      // released or lost
)

// claim is a claim of a key. claims.mu guards state and order; what else may change has its owner
// beside it.
type claim struct {
	bus    *Bus
	key    string
	second hub.Second
	number uint64 // of the claims of this node; never zero
	lost   func()

	state  claimState
	order  order
	ticks  int           // until it is checked once more; zero if that need not be
	beaten chan struct{} // closed when another process takes the key over
	begun  chan struct{} // closed when lost is about to be called
	left   chan struct{} // closed when the claim is lost, and this process has no client with the key

	sub subscription // to the subject of the key; of the outbox

	checked  atomic.Uint64 // the epoch in which the claim was made or, with JetStream, found in the bucket
	revision atomic.Uint64 // of the entry in the bucket; zero if there is none
}

// claims are the keys of this process.
type claims struct {
	mu        sync.Mutex
	closed    bool
	byKey     map[string]*claim
	last      uint64 // the last number
	seq       uint64 // the highest in any order that was seen
	lostCount int64

	doubt     chan struct{} // has room for one: all claims are to be checked
	checkSoon atomic.Bool   // the same, at the next tick
	shared    atomic.Bool   // there was one with AllowBoth
}

func (s *claims) stats(stats *hub.BusStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Claims, stats.Lost = len(s.byKey), s.lostCount
}

// nextLocked returns an order after all that were seen, and after other.
func (s *claims) nextLocked(b *Bus, other uint64) order {
	s.seq = max(s.seq+1, other+1, uint64(time.Now().UnixMicro()))
	return order{s.seq, b.id}
}

// begin makes a claim that is not held yet.
func (s *claims) begin(b *Bus, key string, second hub.Second, lost func()) (*claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, hub.ErrClosed
	}
	if s.byKey == nil {
		s.byKey = make(map[string]*claim)
	}
	s.last++
	c := &claim{
		bus: b, key: key, second: second, number: s.last, lost: lost,
		order:  s.nextLocked(b, 0),
		beaten: make(chan struct{}), begun: make(chan struct{}), left: make(chan struct{}),
	}
	c.checked.Store(b.link.epoch.Load())
	if b.link.clustered.Load() { // the subscriptions of other processes may still be on the way
		c.ticks = 2
	}
	s.byKey[key] = c
	if second == hub.AllowBoth {
		s.shared.Store(true)
	}
	return c, nil
}

// settle makes a claim held. It returns false if the claim has been lost or released meanwhile.
func (s *claims) settle(c *claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state != claiming {
		return false
	}
	c.state = held
	return true
}

// end ends a claim that is released.
func (s *claims) end(c *claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state >= losing {
		return false
	}
	s.removeLocked(c)
	return true
}

func (s *claims) removeLocked(c *claim) {
	c.state = ended
	if s.byKey[c.key] == c {
		delete(s.byKey, c.key)
	}
}

// beat notes that another process takes a claim over. It returns in which state the claim was.
func (s *claims) beat(c *claim) claimState {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := c.state
	if was < losing {
		c.state = losing
		s.lostCount++
		close(c.beaten)
	}
	return was
}

// finish ends a claim that is lost.
func (s *claims) finish(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(c)
	close(c.left)
}

// get returns the claim of a key, with its state; nil if there is none.
func (s *claims) get(key string) (c *claim, state claimState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c = s.byKey[key]; c != nil {
		state = c.state
	}
	return c, state
}

// held returns all claims that are held.
func (s *claims) held() (all []*claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byKey {
		if c.state == held {
			all = append(all, c)
		}
	}
	return all
}

// due returns the claims that are to be checked once more, at the second call after they were made.
func (s *claims) due() (all []*claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byKey {
		if c.ticks == 0 {
			continue
		}
		if c.ticks--; c.ticks == 0 && c.state == held {
			all = append(all, c)
		}
	}
	return all
}

func (s *claims) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Claim implements hub.Bus. With AllowBoth it does not wait. Otherwise it takes as long as the
// server and, if another process has the key, that process need to answer. A process that does not
// answer is waited for: without JetStream for Timeout, with JetStream until its lease has run out.
func (b *Bus) Claim(ctx context.Context, key string, second hub.Second, lost func()) (hub.Claim, error) {
	subject, err := b.names.key(key)
	if err != nil {
		return nil, err
	}
	if second != hub.AllowBoth && !b.link.up.Load() {
		return nil, b.whyDown()
	}
	c, err := b.claims.begin(b, key, second, lost)
	if err != nil {
		return nil, err
	}
	bucket := b.owner != nil && second != hub.AllowBoth
	if !bucket {
		b.outbox.do(func(nc *nats.Conn) { c.sub.begin(b, nc, subject, b.keyBox) })
	}
	switch {
	case bucket:
		err = b.owner.claim(ctx, c)
	case second != hub.AllowBoth:
		err = c.contend(ctx, subject)
	}
	if err == nil && !b.claims.settle(c) {
		err = c.whyBeaten()
	}
	if err != nil {
		c.Release()
		return nil, err
	}
	if second != hub.AllowBoth && (c.checked.Load() != b.link.epoch.Load() || !b.sure(c)) {
		b.recheck() // there is another connection, or the lease is a new one
	}
	return c, nil
}

// Release implements hub.Claim.
func (c *claim) Release() {
	if !c.bus.claims.end(c) {
		c.awaitLost()
		return
	}
	c.unsubscribe()
	if c.bus.owner != nil {
		c.bus.owner.free(c)
	}
}

// awaitLost waits until lost, if it has to be called, is about to be: it does not come after Release.
func (c *claim) awaitLost() {
	select {
	case <-c.beaten:
		<-c.begun
	default:
	}
}

func (c *claim) unsubscribe() {
	c.bus.outbox.do(func(*nats.Conn) { c.sub.end(c.bus) })
}

// whyBeaten is the error of a Claim that another one has beaten meanwhile.
func (c *claim) whyBeaten() error {
	switch {
	case c.bus.ctx.Err() != nil:
		return hub.ErrClosed
	case c.second == hub.KickFirst:
		return hub.ErrReplaced
	}
	return hub.ErrTaken
}

// head returns a kindClaim: the order of the claim, and whether it is held.
func (c *claim) head() []byte {
	c.bus.claims.mu.Lock()
	defer c.bus.claims.mu.Unlock()
	message := appendOrder([]byte{byte(kindClaim)}, c.order)
	if c.state == held {
		return append(message, 1)
	}
	return append(message, 0)
}

// contend takes the key from the others that have it, or are about to claim it. It asks until nobody
// else is subscribed to the key: the server answers so by itself.
func (c *claim) contend(ctx context.Context, subject string) error {
	b := c.bus
	limited, cancel := context.WithTimeoutCause(ctx, b.timeout(), hub.ErrLost)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		attempt, cancel := context.WithTimeoutCause(limited, b.timeout()/5, hub.ErrLost)
		a, err := b.ask(attempt, subject, c.head())
		cancel()
		switch {
		case errors.Is(err, errNobody):
			return nil
		case errors.Is(err, errCut): // ask again, if the server is back
		case errors.Is(err, hub.ErrLost) && limited.Err() == nil: // the owner may just have died
		case errors.Is(err, hub.ErrLost) && ctx.Err() == nil:
			return c.unanswered()
		case err == nil && a.verdict == verdictTaken:
			err = c.yield(a)
			fallthrough
		default:
			if err != nil {
				return err
			}
		}
		if err := c.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// unanswered decides about a key whose owner does not answer. It is there: its connection is. With
// KickFirst it drops the key as soon as it reads the claim. If its own claim goes first, its answer
// comes too late for us: we ask once more later.
func (c *claim) unanswered() error {
	if c.second != hub.KickFirst {
		return hub.ErrTaken
	}
	c.bus.claims.mu.Lock()
	defer c.bus.claims.mu.Unlock()
	c.ticks = 2
	return nil
}

// wait lets some time pass, unless the claim is beaten or ctx ends.
func (c *claim) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.beaten:
		return c.whyBeaten()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// yield decides about an answer that the claim of another process goes first. A claim with
// KickFirst that is newer, whatever the clocks say, tries again with a higher order.
func (c *claim) yield(a answer) error {
	t := decodeTaken(a.data)
	if c.second != hub.KickFirst || !t.held {
		return c.whyBeaten()
	}
	c.bus.claims.mu.Lock()
	defer c.bus.claims.mu.Unlock()
	c.order = c.bus.claims.nextLocked(c.bus, t.order.seq)
	return nil
}

// taken is the body of a verdictTaken.
type taken struct {
	held  bool // the claim that goes first is held
	order      // of that claim
	loser order
	key   string
}

func (t taken) encode() []byte {
	message := []byte{0}
	if t.held {
		message[0] = 1
	}
	return appendText(appendOrder(appendOrder(message, t.order), t.loser), t.key)
}

func decodeTaken(data []byte) taken {
	c := cursor{rest: data}
	return taken{held: c.byte() == 1, order: c.order(), loser: c.order(), key: c.text()}
}

// serveClaim answers a claim of another process. If this process has the key, one of the two claims
// ends.
func (b *Bus) serveClaim(m *keyMessage) {
	body := cursor{rest: m.body}
	theirs, theirsHeld := body.order(), body.byte() == 1
	if body.bad || theirs.node == b.id { // see origin
		return
	}
	s := &b.claims
	s.mu.Lock()
	s.seq = max(s.seq, theirs.seq)
	c := s.byKey[m.key]
	if c == nil || c.state >= losing || c.second == hub.AllowBoth {
		s.mu.Unlock()
		b.respond(m.reply, verdictReleased, nil)
		return
	}
	t := taken{c.state == held, c.order, theirs, m.key}
	first := c.goesFirstLocked(theirs, theirsHeld)
	s.mu.Unlock()
	if first {
		b.respond(m.reply, verdictTaken, t.encode())
		return
	}
	b.lose(c, func() { b.respond(m.reply, verdictReleased, nil) })
}

// goesFirstLocked reports whether c keeps the key against a claim of another process.
func (c *claim) goesFirstLocked(theirs order, theirsHeld bool) bool {
	if c.second == hub.KickFirst {
		return c.order.after(theirs)
	}
	if ours := c.state == held; ours != theirsHeld {
		return ours
	}
	return theirs.after(c.order)
}

// lose ends a claim that another process takes over, and has done called when this process has no
// client with the key any more. It does not wait for that.
func (b *Bus) lose(c *claim, done func()) {
	was := b.claims.beat(c)
	switch was {
	case ended:
		done()
		return
	case losing:
		b.loops.Go(func() {
			<-c.left
			done()
		})
		return
	}
	finish := func() {
		b.claims.finish(c)
		c.unsubscribe()
		done()
	}
	if was == claiming { // Claim returns an error
		close(c.begun)
		finish()
		return
	}
	b.loops.Go(func() {
		close(c.begun)
		c.lost()
		finish()
	})
}

// checkID stands in the place of the id of a call in the reply to a claim that is checked.
const checkID = 1<<64 - 1

// recheck has all claims of this process checked: after a partition, two processes may own a key. It
// does not wait.
func (b *Bus) recheck() {
	if b.owner != nil {
		b.owner.recheck()
		return
	}
	select {
	case b.claims.doubt <- struct{}{}:
	default:
	}
}

// recheckDue checks claims again if there is a reason: a node has come back from behind a partition,
// or something was not certain when a claim was made.
func (b *Bus) recheckDue() {
	if b.claims.checkSoon.Swap(false) {
		b.recheck()
		return
	}
	if b.owner == nil {
		b.check(b.claims.due())
	}
}

// runChecks checks all claims whenever there is a doubt.
func (b *Bus) runChecks() {
	for {
		select {
		case <-b.claims.doubt:
			b.check(b.claims.held())
		case <-b.ctx.Done():
			return
		}
	}
}

// check asks the others about claims. One of the two sides of a contradiction ends its claim.
func (b *Bus) check(list []*claim) {
	for _, c := range list {
		subject, err := b.names.key(c.key)
		if err != nil || c.second == hub.AllowBoth {
			continue
		}
		for errors.Is(b.post(subject, b.replyTo(checkID), c.head()), ErrBusy) {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-b.ctx.Done():
				return
			}
		}
	}
}

// checked serves the answer to a claim that was checked.
func (b *Bus) checked(a answer) {
	if a.verdict != verdictTaken {
		return
	}
	t := decodeTaken(a.data)
	b.claims.mu.Lock()
	c := b.claims.byKey[t.key]
	lost := c != nil && c.state == held && c.order == t.loser
	b.claims.mu.Unlock()
	if lost {
		b.lose(c, func() {})
	}
}
