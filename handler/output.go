package handler

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// WhenSlow says what becomes of a Write to a client that has MaxPending bytes
// waiting already.
type WhenSlow int

const (
	// Block makes Write wait until the client has taken some. The write
	// time-out bounds the wait. It is the default.
	Block WhenSlow = iota
	// Drop makes Write return ErrSlowReader; the message is lost as a whole,
	// the client stays. It suits feeds where the next message makes up for it.
	Drop
	// CloseSlow resets the client, and Write returns ErrSlowReader.
	CloseSlow
)

// ErrSlowReader reports a message that was not taken because too many bytes
// wait for the client to read them.
var ErrSlowReader = errors.New("handler: slow reader")

var (
	errWouldBlock   = errors.New("would block")
	errWriteTimeout = errors.New("write time-out")
	errIdleTimeout  = errors.New("idle time-out while writing")
)

const (
	// defaultMaxPending bounds a client's pending output, in bytes, where
	// Frames.MaxPending is zero.
	defaultMaxPending = 1 << 20

	// batchSize is how much is gathered of the replies to pipelined frames
	// before it is written: about what a socket takes at once.
	batchSize = 64 << 10

	// pieceSize is how much is written at once while waiting: progress shows
	// after each piece.
	pieceSize = 64 << 10

	// maxPooled is the largest buffer that goes back to its pool.
	maxPooled = 64 << 10
)

// output is what a client is still to be sent, under the client's mu. One
// goroutine at a time writes: who sets flushing. The others only add to pending.
type output struct {
	changed sync.Cond // on the client's mu: there is room, or nobody is flushing

	pending *chunk // to be written next
	writing *chunk // being written, before pending
	size    int    // bytes in both

	// added and sent count all bytes there ever were: who waits for his own
	// does not wait for those that came after.
	added, sent int64

	closed bool  // nothing more is taken
	err    error // why nothing can be written any more

	flushing bool
	batching bool // frames are being served: their end will flush
	late     bool // in the handler's list of those whose end may be late
}

// chunk is a buffer of output, from chunks.
type chunk struct {
	b    []byte
	sent int // how much of b is written
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (k *chunk) free() {
	if cap(k.b) <= maxPooled {
		k.b, k.sent = k.b[:0], 0
		chunks.Put(k)
	}
}

// Write sends p to the client. p is copied, or written, before Write returns.
// Several messages in flight never mix: each is sent whole, in the order of the
// calls.
//
// What is written while a frame is being served is gathered and sent when no
// further whole frame waits, but no later than after 5 ms; Flush sends it now.
// At other times it is sent at once. Write does not wait for the client to
// read, unless MaxPending bytes are waiting already: then Frames.WhenSlow
// decides. An error is ErrSlowReader, or ErrClosed with what ended the client.
func (c *Client) Write(p []byte) (int, error) {
	if c.frames == nil {
		return c.wire.write(p)
	}
	c.mu.Lock()
	err := c.admitLocked()
	if err == nil {
		k := c.out.pendingChunk()
		k.b = append(k.b, p...)
		c.addedLocked(len(p))
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteFrame sends payload as one frame of the handler's codec, as Write does.
// It also returns the errors of the codec's Append, and errors.ErrUnsupported
// for the client of a plain handler, which has no codec.
func (c *Client) WriteFrame(payload []byte) error {
	if c.frames == nil {
		return errors.ErrUnsupported
	}
	o := &c.out
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admitLocked(); err != nil {
		return err
	}
	k := o.pendingChunk()
	before := len(k.b)
	b, err := c.frames.codec().Append(k.b, payload)
	if err != nil {
		return err
	}
	k.b = b
	c.addedLocked(len(b) - before)
	return nil
}

// Flush sends what was written so far, without waiting for the client to read
// it. A frame function that goes on to something slow calls it when what it
// wrote is to be seen before.
func (c *Client) Flush() error {
	o := &c.out
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startFlushLocked()
	return o.err
}

// admitLocked lets a message in, by the rule for slow readers.
func (c *Client) admitLocked() error {
	o := &c.out
	for o.err == nil && !o.closed && o.size >= c.frames.maxPending() {
		switch c.frames.WhenSlow {
		case Drop:
			return ErrSlowReader
		case CloseSlow:
			o.err = fmt.Errorf("%w: %w", ErrClosed, ErrSlowReader)
			c.abort(ByServer, SlowReader, fmt.Errorf("%d bytes pending", o.size))
		default:
			if o.flushing {
				o.changed.Wait()
			} else {
				c.flushLocked(o.sent+1, true)
				c.restLocked()
			}
		}
	}
	if o.err == nil && o.closed {
		return ErrClosed
	}
	return o.err
}

// addedLocked sees to it that n more pending bytes are sent.
func (c *Client) addedLocked(n int) {
	o := &c.out
	o.size += n
	o.added += int64(n)
	c.count.framesOut++
	switch {
	case o.flushing: // who flushes takes them along
	case !o.batching || o.size >= min(batchSize, c.frames.maxPending()):
		c.startFlushLocked()
	case !o.late:
		o.late = true
		c.frames.late.add(c)
	}
}

// pendingChunk returns the chunk to add output to.
func (o *output) pendingChunk() *chunk {
	if o.pending == nil {
		o.pending = chunks.Get().(*chunk)
	}
	return o.pending
}

// beginBatch marks the client busy, and holds replies back until endBatch.
func (c *Client) beginBatch() {
	c.mu.Lock()
	c.busy = true
	c.out.batching = true
	c.mu.Unlock()
}

// endBatch writes all that is pending, and waits until it is written. It counts
// what was read and served since the last one.
func (c *Client) endBatch(bytes, frames int64) error {
	c.mu.Lock()
	c.count.bytesIn += bytes
	c.count.framesIn += frames
	c.out.batching = false
	err := c.flushAllLocked()
	c.busy = false
	if c.out.late && c.frames.late.dropOnly(c) {
		c.out.late = false
	}
	c.mu.Unlock()
	return err
}

// flushAllLocked waits until what is pending now is written, and writes what
// nobody else does.
func (c *Client) flushAllLocked() error {
	o := &c.out
	for target := o.added; o.err == nil && o.sent < target; {
		if o.flushing {
			o.changed.Wait()
		} else {
			c.flushLocked(target, true)
		}
	}
	c.restLocked()
	return o.err
}

// startFlushLocked writes what the connection takes at once, and leaves the
// rest to a goroutine.
func (c *Client) startFlushLocked() {
	if !c.out.flushing {
		c.flushLocked(c.out.added, false)
	}
	c.restLocked()
}

// restLocked sees to it that somebody writes what is still pending.
func (c *Client) restLocked() {
	o := &c.out
	if o.flushing || o.err != nil || o.size == 0 {
		return
	}
	o.flushing = true
	c.inflight.Add(1)
	go c.flushRest()
}

// flushRest is the goroutine that waits for the connection to take the rest, and
// what comes meanwhile.
func (c *Client) flushRest() {
	defer c.inflight.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked(math.MaxInt64, true)
}

// flushLocked writes until target bytes are sent in all, or nothing is pending.
// It lets go of the lock while it writes. Unless wait is set it stops where it
// would block.
func (c *Client) flushLocked(target int64, wait bool) {
	o := &c.out
	o.flushing = true
	for o.err == nil && o.size > 0 && o.sent < target {
		if o.writing == nil {
			o.writing, o.pending = o.pending, nil
		}
		err := c.writeChunkLocked(wait)
		if err == errWouldBlock {
			break
		}
		if err != nil {
			c.failLocked(err)
		}
	}
	o.flushing = false
	o.changed.Broadcast()
}

// writeChunkLocked writes o.writing, or the next piece of it, without the lock.
func (c *Client) writeChunkLocked(wait bool) error {
	o := &c.out
	k := o.writing
	c.mu.Unlock()
	n, err := c.wire.tryWrite(k.b[k.sent:])
	if err == errWouldBlock && wait {
		rest := k.b[k.sent+n:]
		var more int
		more, err = c.wire.write(rest[:min(len(rest), pieceSize)])
		n += more
	}
	c.mu.Lock()
	c.count.bytesOut += int64(n)
	if n > 0 && !c.busy {
		c.wire.touch() // what a batch writes, its end notes
	}
	k.sent += n
	o.size -= n
	o.sent += int64(n)
	if k.sent == len(k.b) {
		k.free()
		o.writing = nil
	}
	if n > 0 {
		o.changed.Broadcast()
	}
	return err
}

// failLocked ends the client's output: err, and ErrClosed, is what Write returns
// from now on.
func (c *Client) failLocked(err error) {
	if c.out.err == nil {
		c.out.err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.endIO(err)
	c.wire.wake()
}

// closeOutput refuses further writes, ends a batch that may be open, and waits
// for writes in flight. It reports false if not all that was written before is
// sent.
func (c *Client) closeOutput(bytes, frames int64) (sent bool) {
	o := &c.out
	c.mu.Lock()
	o.closed = true
	o.changed.Broadcast()
	c.mu.Unlock()
	err := c.endBatch(bytes, frames)
	c.mu.Lock()
	if o.err == nil {
		o.err = ErrClosed
	}
	c.mu.Unlock()
	return !c.inflight.WaitWithTimeout(flushTimeout) && err == nil
}

// freeOutput gives the buffers back, when nobody writes any more. The connection
// is closed, so that does not take long.
func (c *Client) freeOutput() {
	o := &c.out
	c.mu.Lock()
	defer c.mu.Unlock()
	for o.flushing {
		o.changed.Wait()
	}
	for _, k := range []*chunk{o.writing, o.pending} {
		if k != nil {
			k.free()
		}
	}
	o.writing, o.pending, o.size = nil, nil, 0
}
