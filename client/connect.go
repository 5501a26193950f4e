package client

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"wireline/internal/timeout"
)

// errConnectTimeout is why an attempt has failed that has taken too long.
var errConnectTimeout = fmt.Errorf("connect timeout: %w", context.DeadlineExceeded)

// connect makes one attempt. It runs in a goroutine of its own, or of the timer.
func (c *Conn) connect() {
	defer c.dialer.background.Done()
	ctx, ok := c.begin()
	if !ok {
		return
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit in a function of the user's
			c.dialer.logPanic(c, recover())
			c.fail(errPanicked)
		}
	}()
	l, err := c.establish(ctx)
	returned = true
	if err == nil {
		err = c.connected(l)
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.flush(l)
}

// begin begins an attempt. It reports false if the Conn is closed.
func (c *Conn) begin() (ctx context.Context, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == StateClosed {
		return nil, false
	}
	ctx, c.stop = context.WithCancelCause(c.dialer.ctx)
	c.timer = nil
	c.setState(StateConnecting)
	return ctx, true
}

// establish makes a connection, and calls OnConnect. ctx ends if the connection ends meanwhile.
func (c *Conn) establish(ctx context.Context) (*link, error) {
	if err := c.await(ctx, c.isFree); err != nil {
		return nil, err
	}
	bound := timeout.New(ctx, c.dialer.connectTimeout(), errConnectTimeout)
	defer bound.Stop()
	l, err := c.dialer.dial(bound, c)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.link = l
	c.links++
	c.mu.Unlock()
	c.dialer.frames.Accept(l)
	if err := c.await(bound, func() bool { return l.client != nil }); err != nil {
		return l, err
	}
	return l, c.greet(bound, l)
}

// isFree reports whether the last connection has been left by OnFrame and by flush, so that neither
// runs twice at a time. The caller holds mu.
func (c *Conn) isFree() bool { return !c.serving && c.flushed == nil }

// greet calls OnConnect. It ends the connection in time also if OnConnect does not heed its context: then
// what that waits for fails.
func (c *Conn) greet(bound context.Context, l *link) error {
	if c.dialer.OnConnect == nil {
		return nil
	}
	defer context.AfterFunc(bound, l.reset)()
	err := c.dialer.OnConnect(bound, &Opening{c, l})
	if bound.Err() != nil {
		return context.Cause(bound)
	}
	return err
}

// connected declares the Conn connected, unless l has ended. If frames wait in the queue, flush must
// be called: what comes from now on goes behind them.
func (c *Conn) connected(l *link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == StateClosed:
		return ErrClosed
	case c.link != l:
		return l.err
	}
	c.stop(nil)
	c.stop = nil
	c.failed, c.dialed = 0, false
	c.counts.Connects++
	if c.queue.len() > 0 {
		c.flushed = make(chan struct{})
	}
	c.setState(StateConnected)
	level := slog.LevelDebug
	if c.err != nil {
		level = slog.LevelInfo // after a failure
	}
	c.log(level, "connected", slog.String("remote", fmt.Sprint(l.remote)))
	return nil
}

// flush sends what waits in the queue, until l ends.
func (c *Conn) flush(l *link) {
	for item := c.nextQueued(l); item != nil; item = c.nextQueued(l) {
		if _, err := l.client.Write(item.frame); err != nil {
			c.unqueue(item)
			c.awaitLoss(context.Background(), l)
		}
	}
}

// nextQueued takes the next frame out of the queue, to be given to l. If there is none, or l has ended,
// the flush is over.
func (c *Conn) nextQueued(l *link) *queued {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		if item := c.queue.take(); item != nil {
			if item.request != nil {
				item.request.link = l
			}
			return item
		}
	}
	if c.flushed != nil {
		close(c.flushed)
		c.flushed = nil
		c.wakeWaiters()
	}
	return nil
}

// unqueue puts a frame back that the connection has not taken. The flush is not over yet, so it is still
// the first one.
func (c *Conn) unqueue(item *queued) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r := item.request; {
	case r == nil && c.state == StateClosed:
		c.counts.Dropped++
		return
	case r == nil:
	case c.requests[r.id] != r:
		return // it has ended, with the connection or by Shutdown
	case r.gaveUp:
		c.gaveUp--
		c.forget(r)
		return
	default:
		r.link = nil
	}
	c.queue.putBack(item)
}

// fail notes that the attempt has failed, and arranges for the next one.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	l := c.link
	requests := c.drop(err)
	if c.state != StateClosed {
		c.stop(nil)
		c.stop, c.err = nil, err
		c.failed++
		c.counts.Failures++
		level := slog.LevelDebug
		if c.failed == 1 && !c.dialed {
			level = slog.LevelWarn
		}
		c.log(level, "cannot connect", errAttr(err))
		c.wait()
	}
	c.mu.Unlock()
	if l != nil {
		l.reset()
	}
	finishAll(requests, lost(err))
}

// lost notes that l has ended because of err, if that was not noted yet. If the Conn was connected, it
// arranges for the next attempt; if not, the attempt under way fails.
func (c *Conn) lost(l *link, err error) {
	c.mu.Lock()
	if c.link != l {
		c.mu.Unlock()
		return
	}
	requests := c.drop(err)
	switch c.state {
	case StateConnected:
		if time.Since(c.since) >= c.dialer.Backoff.Limit(math.MaxInt) {
			c.attempt = 0
		}
		c.err = err
		c.counts.Losses++
		c.log(slog.LevelWarn, "connection lost", errAttr(err))
		c.wait()
	case StateConnecting:
		c.stop(lost(err))
	}
	c.mu.Unlock()
	finishAll(requests, lost(err))
}

// drop forgets the connection, if there is one, because of err. It returns the requests that end with
// it. The caller holds mu.
func (c *Conn) drop(err error) []*request {
	l := c.link
	if l == nil {
		return nil
	}
	c.link, l.err = nil, err
	c.wakeWaiters()
	return c.takeRequests(l)
}

// wait arranges for the next attempt. The caller holds mu.
func (c *Conn) wait() {
	pause := c.dialer.Backoff.Delay(c.attempt, process{})
	c.attempt++
	c.next = time.Now().Add(pause)
	c.dialer.background.Add(1)
	c.timer = time.AfterFunc(pause, c.connect)
	c.setState(StateWaiting)
}

// stopWaiting stops the timer. The caller holds mu.
func (c *Conn) stopWaiting() {
	if c.timer != nil && c.timer.Stop() {
		c.dialer.background.Done()
	}
	c.timer = nil
}

// log writes a line. The caller may hold mu: nobody waits for the log.
func (c *Conn) log(level slog.Level, message string, attr slog.Attr) {
	c.dialer.log().LogAttrs(context.Background(), level, message, slog.String("server", c.address), attr)
}

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }
