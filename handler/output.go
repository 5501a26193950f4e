package handler

import (
	"fmt"
	"sync"

	"wireline/internal/outq"
)

const (
	// defaultMaxPending is the limit of pending output, in bytes, if Frames.MaxPending
	// is zero.
	defaultMaxPending = 1 << 20

	// batchSize is how many bytes of replies to pipelined frames are gathered before
	// they are written: about as much as a socket accepts at once.
	batchSize = 64 << 10

	// directSize is the size from which a message is written without being copied, as
	// far as the connection accepts it: copying it would cost as much as a system call.
	directSize = 8 << 10

	// maxPooled is the largest buffer that is put back into a pool.
	maxPooled = 64 << 10
)

// output is the pending output of a client, guarded by the client's mu. A client has
// one only while output is pending or being gathered. Writes to the connection do not
// block, so they happen under mu too.
type output struct {
	outq.Queue
	changed sync.Cond // on the client's mu: output was sent, or the output has failed or was shut
	waiting int       // how many goroutines wait for changed

	// Valid while the connection accepts nothing.
	stalled int64 // when it last accepted something, by the connection's clock
	unsent  int   // Conn.Unsent at the last check
	checks  int   // the number of checks, up to earlyChecks
}

// sending is a set of facts about the output of a client, guarded by the client's mu.
type sending uint16

const (
	busy       sending = 1 << iota // a frame is being served
	batching                       // a batch is being served: its end will flush
	watched                        // the event loop notices if the batch takes long
	delayed                        // the client is in Frames.delayed
	blocked                        // Writable will be called when the connection accepts more
	awaited                        // the serving goroutine is to be woken when the batch is sent
	shut                           // no further message is accepted
	failed                         // nothing can be written any more
	takenOver                      // the connection has a new owner
	gone                           // the connection is closed, or has a new owner
	held                           // StartTLS: what follows the marked output waits for the end of the handshake
	tlsQueued                      // the serving goroutine is to be woken when TLS has nothing queued
	countedOut                     // the server's Memory counts what is pending
)

func (s sending) has(bits sending) bool { return s&bits != 0 }
func (s *sending) set(bits sending)     { *s |= bits }
func (s *sending) clear(bits sending)   { *s &^= bits }

var outputs = sync.Pool{New: func() any { return new(output) }}

// outputLocked returns c.out, and creates it if necessary.
func (c *Client) outputLocked() *output {
	if c.out == nil {
		c.out = outputs.Get().(*output)
		c.out.changed.L = &c.mu
	}
	return c.out
}

// releaseLocked puts the output back into the pool if it is not needed.
func (c *Client) releaseLocked() {
	o := c.out
	isPending := o != nil && o.Size() > 0 || c.sending.has(blocked) // blocked without output: see watchTLS
	if o == nil || isPending && !c.sending.has(failed) || c.sending.has(batching) || o.waiting > 0 {
		if isPending {
			c.countOutputLocked()
		}
		return
	}
	c.out = nil
	c.sending.clear(blocked)
	o.changed.L = nil
	o.Reset()
	outputs.Put(o)
	if c.sending.has(countedOut) {
		c.countOutputLocked()
	}
}

// wait waits until changed is signaled.
func (o *output) wait() {
	o.waiting++
	o.changed.Wait()
	o.waiting--
}

// Flush sends the output gathered so far, without waiting for the client to read it. A
// frame function calls it before slow work if the client should see the output first.
func (c *Client) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked(false)
	return c.failureLocked()
}

// flushLaterLocked flushes the output now, or leaves that to the end of the batch.
func (c *Client) flushLaterLocked(o *output) {
	switch {
	case o.Size() == 0:
		c.releaseLocked()
	case !c.sending.has(batching), o.Size() >= min(batchSize, c.frames.maxPending()):
		c.flushLocked(false)
	case !c.sending.has(delayed | watched):
		c.sending.set(delayed)
		c.frames.delayed.add(c)
	}
}

// sendLocked sends a message in two parts after the pending output. It copies what the
// connection does not accept at once.
func (c *Client) sendLocked(o *output, p, tail []byte) {
	c.count.FramesOut++
	if c.sending.has(blocked|held) || !o.Single() {
		o.Add(p)
		o.Add(tail)
	} else {
		head := o.Head()
		n, err := c.transport().Write([3][]byte{head, p, tail})
		o.Through(n, p, tail)
		c.sentLocked(o, n)
		if err == nil && o.Size() > 0 {
			err = c.blockLocked(o, false)
		}
		if err != nil {
			c.writeFailedLocked(err)
		}
	}
	c.flushLaterLocked(o)
}

// flushLocked writes as much pending output as the connection accepts at once. Writable
// continues when it accepts more. returning is passed to Conn.WatchOut.
func (c *Client) flushLocked(returning bool) {
	o := c.out
	if o == nil {
		return
	}
	for !c.sending.has(blocked|failed) && o.Size() > 0 {
		head := o.Head()
		if c.sending.has(held) {
			head = o.HeadToMark()
		}
		if len(head) == 0 {
			break
		}
		n, err := c.transport().Write([3][]byte{head})
		o.Take(n)
		c.sentLocked(o, n)
		if err == nil && n < len(head) {
			err = c.blockLocked(o, returning)
		}
		if err != nil {
			c.writeFailedLocked(err)
		}
	}
	if c.sending.has(awaited) && c.flushedLocked() {
		c.sending.clear(awaited)
		c.conn.Wake()
	}
	c.releaseLocked()
}

// sentLocked counts n bytes that the connection has accepted.
func (c *Client) sentLocked(o *output, n int) {
	if n == 0 {
		return
	}
	c.count.BytesOut += int64(n)
	if !c.sending.has(busy) {
		c.touch() // for a batch, serveBatch does it at the end
	}
	if o.waiting > 0 {
		o.changed.Broadcast()
	}
}

// blockLocked arranges for Writable to be called when the connection accepts more, and
// starts the write timeout.
func (c *Client) blockLocked(o *output, returning bool) error {
	if err := c.transport().WatchOut(returning); err != nil {
		return err
	}
	c.sending.set(blocked)
	o.stalled, o.checks = c.conn.Now(), 0
	if limit, _ := c.writeLimit(); limit > 0 {
		c.armLocked(o.stalled + o.checkInterval(limit))
	}
	return nil
}

// resumeOutput continues writing to a connection that accepts output again.
func (c *Client) resumeOutput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending.has(gone) {
		return // the poller may report an event that came before the end
	}
	if t := c.tls(); t != nil {
		t.Writable()
		if c.sending.has(tlsQueued) && !t.Queued() {
			c.sending.clear(tlsQueued)
			c.conn.Wake()
		}
	} else if u := c.upgrade(); u != nil {
		u.writable.Broadcast()
	}
	if c.out != nil && c.out.waiting > 0 {
		c.out.changed.Broadcast() // handOver waits for output of crypto/tls
	}
	if c.sending.has(blocked) {
		c.sending.clear(blocked)
		c.flushLocked(false)
		c.watchTLSLocked()
	}
}

// beginBatch marks the client busy, and holds back replies until endBatch.
func (c *Client) beginBatch() {
	c.mu.Lock()
	c.sending.set(busy | batching)
	if c.flags.has(inLoop) {
		c.sending.set(watched)
	} else {
		c.sending.clear(watched)
	}
	c.outputLocked()
	if c.flags.has(observed) {
		c.watchBreakLocked()
	}
	c.mu.Unlock()
}

// endBatch sends the replies gathered since beginBatch, and updates the counters.
// Nothing more is read until the replies are sent, unless Frames.FullDuplex is set.
func (c *Client) endBatch() {
	c.mu.Lock()
	c.countInLocked()
	c.sending.clear(batching)
	if c.out != nil && !c.sending.has(held) {
		c.out.Mark()
	}
	if c.flags.has(upgrading) {
		c.sending.set(held)
	}
	c.flushLocked(true)
	if !c.flushedLocked() && !c.frames.FullDuplex {
		c.input.set(unsent)
	}
	c.sending.clear(busy)
	if c.sending.has(delayed) && c.frames.delayed.dropOnly(c) {
		c.sending.clear(delayed)
	}
	c.mu.Unlock()
}

// stopBatching sends the replies that a slow batch has held back. The rest of the batch
// sends its replies at once.
func (c *Client) stopBatching() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending.has(batching) {
		c.sending.clear(batching)
		c.flushLocked(false)
	}
}

// awaitOutput reports whether the replies of the last batch are sent, or cannot be
// sent. If not, it arranges for the client to be woken when they are.
func (c *Client) awaitOutput() (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent = c.flushedLocked()
	if !sent {
		c.sending.set(awaited)
	}
	return sent
}

// flushedLocked reports whether the replies of the last batch are sent, or cannot be
// sent. Later output of other goroutines does not count: a steady feed would delay the
// client's own frames.
func (c *Client) flushedLocked() bool {
	return c.out == nil || c.sending.has(failed) || c.out.Marked()
}

// writeFailedLocked ends the client because a write has failed with err.
func (c *Client) writeFailedLocked(err error) {
	c.failLocked(fmt.Errorf("%w: %w", ErrClosed, err))
	c.endIO(err)
	c.conn.Wake()
}

// failLocked makes all writes fail with err from now on.
func (c *Client) failLocked(err error) {
	if !c.sending.has(failed) {
		c.sending.set(failed)
		if err != ErrClosed {
			c.endStateLocked().writeErr = err
		}
	}
	if c.out != nil {
		c.out.changed.Broadcast()
	}
}

// failureLocked returns the error of failed output, or nil if it has not failed.
func (c *Client) failureLocked() error {
	if !c.sending.has(failed) {
		return nil
	}
	if e := c.endState.Load(); e != nil && e.writeErr != nil {
		return e.writeErr
	}
	return c.closedErr()
}

// closedErr returns ErrClosed, joined with the error that has ended the client.
func (c *Client) closedErr() error {
	if e := c.ending.Load(); e != nil && e.err != nil {
		return e.cause()
	}
	return ErrClosed
}

// shutLocked refuses further messages, and drops those that were to wait for TLS.
func (c *Client) shutLocked() {
	c.sending.set(shut)
	if c.out == nil {
		return
	}
	if c.sending.has(held) {
		c.out.Trim()
	}
	c.out.changed.Broadcast()
}

// shutOutput refuses further messages and ends an open batch.
func (c *Client) shutOutput() {
	c.mu.Lock()
	c.shutLocked()
	c.mu.Unlock()
	c.endBatch()
}
