package client

import (
	"cmp"
	"context"
	"fmt"
)

// Close is Shutdown with Dialer.CloseTimeout. As Shutdown, it waits for OnFrame and OnConnect: these may
// call it only in a goroutine of its own.
func (c *Conn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(c.dialer.CloseTimeout, defaultCloseTimeout))
	defer cancel()
	return c.Shutdown(ctx)
}

// Shutdown closes the Conn in good order: it accepts nothing new, waits for the answers to the
// requests under way and for what waits in the queue, also if there is no connection now, then sends
// what is pending and a FIN, and waits until the connection is closed. An OnFrame that runs is waited
// for, too.
//
// When ctx ends, what is left is cut: requests end with ErrClosed, the connection is reset, and the
// error says how much it was, joined with the cause of ctx. After a first call, a further one only
// waits; its ctx cuts too.
func (c *Conn) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	idle := c.await(ctx, func() bool {
		return c.state == StateClosed || len(c.requests) == c.gaveUp && c.queue.len() == 0 && c.flushed == nil
	})
	l, requests, frames := c.finish()
	if l != nil {
		l.close()
	}
	if err := c.await(ctx, c.isOff); err != nil {
		c.cut(l)
		idle = cmp.Or(idle, err)
	}
	c.dialer.remove(c)
	if idle != nil {
		return fmt.Errorf("client: closed with %d requests and %d frames under way: %w", requests, frames, idle)
	}
	return nil
}

// isOff reports whether all connections are closed. The caller holds mu.
func (c *Conn) isOff() bool { return c.links == 0 }

// cut resets the connection that is left, or nil, and waits a moment for its end.
func (c *Conn) cut(l *link) {
	if l != nil {
		l.reset()
	}
	ctx, cancel := context.WithTimeout(context.Background(), endGrace)
	defer cancel()
	c.await(ctx, c.isOff)
}

// abort closes the Conn without waiting for anything.
func (c *Conn) abort() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.Shutdown(ctx)
}

// finish ends everything but the connection, which it returns, if there is one. It returns how many
// requests and frames of Send it has ended.
func (c *Conn) finish() (l *link, requests, frames int) {
	c.mu.Lock()
	if c.state != StateClosed {
		c.stopWaiting()
		if c.stop != nil {
			c.stop(ErrClosed)
		}
		c.setState(StateClosed)
	}
	for item := c.queue.take(); item != nil; item = c.queue.take() {
		if item.request == nil {
			frames++
		}
	}
	c.counts.Dropped += uint64(frames)
	ended := append(c.takeRequests(nil), c.takeRequests(c.link)...)
	l = c.link
	c.mu.Unlock()
	finishAll(ended, ErrClosed)
	return l, len(ended), frames
}
