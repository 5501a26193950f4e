package handler

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"wireline/lib/frame"
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

	// directSize is from which size on a message is written from where it is,
	// if the connection takes it: to copy it would cost as much as a call.
	directSize = 8 << 10

	// pieceSize is how much is written at once while waiting: progress shows
	// after each piece.
	pieceSize = 64 << 10

	// maxPooled is the largest buffer that goes back to its pool.
	maxPooled = 64 << 10
)

// output is what a client is still to be sent, under the client's mu. A client
// has one only while something is pending, gathered or written. One goroutine
// at a time writes: who sets flushing. The others only add to pending.
type output struct {
	changed sync.Cond // on the client's mu: there is room, or nobody is flushing
	waiting int       // how many wait for it

	pending []byte // to be written after writing
	writing []byte // being written
	done    int    // how much of writing is written
	size    int    // bytes still to be written

	// added and sent count all bytes since the output was taken from its pool:
	// who waits for his own does not wait for those that came after.
	added, sent int64

	queued int   // in the socket, when it took no more; on a loop
	target int64 // added at the end of the last batch

	flushing bool
	batching bool // frames are being served: their end will flush
	blocked  bool // the loop goes on writing when the socket takes more
}

var outputs = sync.Pool{New: func() any { return new(output) }}

// outputLocked returns the client's output, and gives it one if need be.
func (c *Client) outputLocked() *output {
	if c.out == nil {
		c.out = outputs.Get().(*output)
		c.out.changed.L = &c.mu
	}
	return c.out
}

// releaseLocked gives the output back if nobody needs it.
func (c *Client) releaseLocked() {
	o := c.out
	if o == nil || o.size > 0 && c.fail == nil || o.flushing || o.batching || o.waiting > 0 {
		return
	}
	c.out = nil
	o.changed.L = nil
	pending, writing := o.pending[:0], o.writing[:0]
	if cap(pending) > maxPooled {
		pending = nil
	}
	if cap(writing) > maxPooled {
		writing = nil
	}
	o.pending, o.writing, o.done, o.size = pending, writing, 0, 0
	o.added, o.sent, o.target, o.blocked = 0, 0, 0, false
	outputs.Put(o)
}

// wait waits for a change.
func (o *output) wait() {
	o.waiting++
	o.changed.Wait()
	o.waiting--
}

// Write sends p to the client. p is copied, or written, before Write returns.
// Several messages in flight never mix: each is sent whole, in the order of the
// calls.
//
// What is written while a frame is being served is gathered and sent when no
// further whole frame waits, but no later than after a few milliseconds; Flush
// sends it now. At other times it is sent at once. Write does not wait for the
// client to read, unless MaxPending bytes are waiting already: then
// Frames.WhenSlow decides. An error is ErrSlowReader, or ErrClosed with what
// ended the client.
func (c *Client) Write(p []byte) (int, error) {
	if c.frames == nil {
		return c.wire.write(p)
	}
	c.mu.Lock()
	if o := c.out; o != nil && c.gathersLocked(o, len(p)) {
		o.pending = append(o.pending, p...)
		c.countLocked(o, len(p))
		c.mu.Unlock()
		return len(p), nil
	}
	o, err := c.admitLocked()
	switch {
	case err != nil:
	case c.direct && len(p) >= directSize:
		c.sendLocked(o, p, nil)
	default:
		o.pending = append(o.pending, p...)
		c.addedLocked(o, len(p))
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// gathersLocked reports whether n bytes more only join what the batch has
// gathered: the usual case, in short.
func (c *Client) gathersLocked(o *output, n int) bool {
	return o.batching && !o.flushing && (c.inline || c.late) && c.fail == nil && !c.shut &&
		n < directSize && o.size+n < min(batchSize, c.frames.maxPending())
}

// WriteFrame sends payload as one frame of the client's codec, as Write does.
// It also returns the errors of the codec's Append, and errors.ErrUnsupported
// for the client of a plain handler, which has no codec. A codec that takes long
// holds up nobody but the caller; calls at the same time may encode at the same time.
func (c *Client) WriteFrame(payload []byte) error {
	if c.frames == nil {
		return errors.ErrUnsupported
	}
	c.mu.Lock()
	codec := c.codec()
	if len(payload) >= directSize || !codec.quick {
		c.mu.Unlock()
		return c.writeEncoded(payload)
	}
	if o := c.out; o != nil && c.gathersLocked(o, len(payload)) {
		before := len(o.pending)
		b, err := codec.Append(o.pending, payload)
		if err == nil {
			o.pending = b
			c.countLocked(o, len(b)-before)
		}
		c.mu.Unlock()
		return err
	}
	defer c.mu.Unlock()
	return c.appendLocked(codec, payload)
}

// appendLocked is WriteFrame for a small payload and a quick codec.
func (c *Client) appendLocked(codec *clientCodec, payload []byte) error {
	o, err := c.admitLocked()
	if err != nil {
		return err
	}
	before := len(o.pending)
	b, err := codec.Append(o.pending, payload)
	if err != nil {
		c.releaseLocked()
		return err
	}
	o.pending = b
	c.addedLocked(o, len(b)-before)
	return nil
}

// writeEncoded is WriteFrame for what may take its time to be encoded. It does that
// without mu, for which others cannot wait: the keeper of the loops, who has to look
// after all clients, and a drain. Of frames that are encoded at the same time the first
// to be ready goes first.
func (c *Client) writeEncoded(payload []byte) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	for {
		codec, err := c.admit()
		if err != nil {
			return err
		}
		parts, err := encode(codec, (*buf)[:0], payload)
		if err != nil {
			return err
		}
		again, err := c.writeParts(parts, codec)
		if cap(parts[0]) <= maxPooled {
			*buf = parts[0]
		}
		if !again {
			return err
		}
	}
}

// scratch has the buffers of writeEncoded.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// admit waits until a message would be let in, so that none is encoded in vain, and
// returns the codec for it.
func (c *Client) admit() (*clientCodec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.admitLocked(); err != nil {
		return nil, err
	}
	c.releaseLocked()
	return c.codec(), nil
}

// encode makes a frame of payload. The first of its parts is in buf; a large payload
// is not copied, if the codec can do without.
func encode(codec *clientCodec, buf, payload []byte) (parts [3][]byte, err error) {
	if len(payload) >= directSize {
		if w, ok := codec.Codec.(frame.Wrapper); ok {
			parts[1] = payload
			parts[0], parts[2], err = w.Wrap(buf, payload)
			return parts, err
		}
	}
	parts[0], err = codec.Append(buf, payload)
	return parts, err
}

// writeParts writes a frame that encode has made, unless the client has another codec
// by now: then it is to be made again.
func (c *Client) writeParts(parts [3][]byte, codec *clientCodec) (again bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.admitLocked()
	if err != nil {
		return false, err
	}
	if c.codec() != codec {
		c.releaseLocked()
		return true, nil
	}
	head, p, tail := parts[0], parts[1], parts[2]
	if p == nil && len(head) >= directSize {
		head, p = nil, head
	}
	o.pending = append(o.pending, head...)
	if c.direct && p != nil {
		o.size += len(head)
		o.added += int64(len(head))
		c.sendLocked(o, p, tail)
		return false, nil
	}
	o.pending = append(append(o.pending, p...), tail...)
	c.addedLocked(o, len(head)+len(p)+len(tail))
	return false, nil
}

// Flush sends what was written so far, without waiting for the client to read
// it. A frame function that goes on to something slow calls it when what it
// wrote is to be seen before.
func (c *Client) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startFlushLocked()
	return c.fail
}

// admitLocked lets a message in, by the rule for slow readers, and returns the
// output to add it to.
func (c *Client) admitLocked() (*output, error) {
	for c.fail == nil && !c.shut {
		o := c.outputLocked()
		if o.size < c.frames.maxPending() {
			return o, nil
		}
		switch c.frames.WhenSlow {
		case Drop:
			return nil, ErrSlowReader
		case CloseSlow:
			c.fail = fmt.Errorf("%w: %w", ErrClosed, ErrSlowReader)
			o.changed.Broadcast()
			c.end(ByServer, SlowReader, fmt.Errorf("%d bytes pending", o.size))
			c.wire.reset()
		default:
			if o.flushing || o.blocked {
				o.wait()
			} else {
				c.flushLocked(o, o.sent+1, true)
				c.restLocked(o)
			}
		}
	}
	defer c.releaseLocked()
	if c.fail == nil {
		return nil, ErrClosed
	}
	return nil, c.fail
}

// addedLocked sees to it that n more pending bytes are sent.
func (c *Client) addedLocked(o *output, n int) {
	c.countLocked(o, n)
	c.flushLaterLocked(o)
}

// countLocked counts a message of n bytes in.
func (c *Client) countLocked(o *output, n int) {
	o.size += n
	o.added += int64(n)
	c.count.framesOut++
}

// flushLaterLocked flushes what is pending now, or leaves that to the batch.
func (c *Client) flushLaterLocked(o *output) {
	switch {
	case o.size == 0:
		c.releaseLocked()
	case o.blocked: // the loop goes on
	case o.flushing: // who flushes takes them along
	case !o.batching || o.size >= min(batchSize, c.frames.maxPending()):
		c.startFlushLocked()
	case !c.late && !c.inline:
		c.late = true
		c.frames.late.add(c)
	}
}

// sendLocked sends a message of two parts, after what is pending. What the
// connection does not take at once is copied.
func (c *Client) sendLocked(o *output, p, tail []byte) {
	n := len(p) + len(tail)
	if o.flushing || o.blocked || o.done < len(o.writing) {
		o.pending = append(append(o.pending, p...), tail...)
		c.addedLocked(o, n)
		return
	}
	c.count.framesOut++
	o.size += n
	o.added += int64(n)
	o.writing, o.pending, o.done = o.pending, o.writing[:0], 0
	o.flushing = true
	if !c.polled {
		c.mu.Unlock()
	}
	sent, err := c.wire.tryWrite([3][]byte{o.writing, p, tail})
	if !c.polled {
		c.mu.Lock()
	}
	o.done = min(sent, len(o.writing))
	if rest := sent - o.done; rest < n {
		o.writing = append(o.writing, p[min(rest, len(p)):]...)
		o.writing = append(o.writing, tail[max(rest-len(p), 0):]...)
	}
	c.wroteLocked(o, sent)
	c.endFlushLocked(o, err)
	c.flushLaterLocked(o)
}

// beginBatch marks the client busy, and holds replies back until endBatch.
// inline tells that a batch that takes long is noticed without the list of late
// replies, and spread called then.
func (c *Client) beginBatch(inline bool) {
	c.mu.Lock()
	c.busy = true
	c.inline = inline
	c.outputLocked().batching = true
	c.mu.Unlock()
}

// spread sends what a batch that takes long has held back, and what it writes
// from now on at once.
func (c *Client) spread() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.out; o != nil && o.batching {
		o.batching = false
		c.startFlushLocked()
	}
}

// endBatch writes all that is pending. If wait is set it waits until that is
// written, else it returns errWouldBlock where it is not. It counts what was
// read and served since the last one.
func (c *Client) endBatch(bytes, frames int64, wait bool) (err error) {
	c.mu.Lock()
	c.count.bytesIn += bytes
	c.count.framesIn += frames
	if c.out != nil {
		c.out.batching = false
		if wait {
			err = c.flushAllLocked()
		} else {
			c.out.target = c.out.added
			c.startFlushLocked()
			if !c.sentLocked() {
				err = errWouldBlock
			}
		}
	}
	c.busy = false
	if c.late && c.frames.late.dropOnly(c) {
		c.late = false
	}
	c.mu.Unlock()
	return err
}

// flushAllLocked waits until what is pending now is written, and writes what
// nobody else does.
func (c *Client) flushAllLocked() error {
	if o := c.out; o != nil {
		for target := o.added; c.fail == nil && o.sent < target; {
			if o.flushing || o.blocked {
				o.wait()
			} else {
				c.flushLocked(o, target, true)
			}
		}
		c.restLocked(o)
	}
	return c.fail
}

// startFlushLocked writes what the connection takes at once, and leaves the
// rest to a goroutine or to the loop.
func (c *Client) startFlushLocked() {
	o := c.out
	if o == nil {
		return
	}
	if !o.flushing && !o.blocked {
		c.flushLocked(o, o.added, false)
	}
	c.restLocked(o)
}

// restLocked sees to it that somebody writes what is still pending.
func (c *Client) restLocked(o *output) {
	if c.polled && !o.flushing && !o.blocked {
		c.flushLocked(o, math.MaxInt64, false)
	}
	if c.polled || o.flushing || c.fail != nil || o.size == 0 {
		c.releaseLocked()
		return
	}
	o.flushing = true
	c.wire.writers().Add(1)
	go c.flushRest(o)
}

// flushRest is the goroutine that waits for the connection to take the rest, and
// what comes meanwhile.
func (c *Client) flushRest(o *output) {
	defer c.wire.writers().Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked(o, math.MaxInt64, true)
	c.releaseLocked()
}

// flushLocked writes until target bytes are sent in all, or nothing is pending.
// It lets go of the lock while it writes. It stops where it would block, unless
// wait is set and the connection can wait.
func (c *Client) flushLocked(o *output, target int64, wait bool) {
	o.flushing = true
	for c.fail == nil && o.size > 0 && o.sent < target {
		if o.done == len(o.writing) {
			o.writing, o.pending = o.pending, o.writing[:0]
			o.done = 0
		}
		if err := c.writeLocked(o, wait); err != nil {
			c.endFlushLocked(o, err)
			return
		}
	}
	c.endFlushLocked(o, nil)
}

// endFlushLocked lets go of the right to write. err is why not more was written.
func (c *Client) endFlushLocked(o *output, err error) {
	switch err {
	case nil:
	case errWouldBlock:
		o.blocked = c.polled
	default:
		c.failLocked(err)
	}
	o.flushing = false
	if o.waiting > 0 {
		o.changed.Broadcast()
	}
	if c.awaited && c.sentLocked() {
		c.awaited = false
		c.wire.wake()
	}
}

// writeLocked writes o.writing, or the next piece of it. It lets go of the lock
// where that may take long, as a socket on a loop does not.
func (c *Client) writeLocked(o *output, wait bool) error {
	rest := o.writing[o.done:]
	if c.polled {
		n, err := c.wire.tryWrite([3][]byte{rest})
		o.done += n
		c.wroteLocked(o, n)
		return err
	}
	c.mu.Unlock()
	n, err := c.wire.tryWrite([3][]byte{rest})
	if err == errWouldBlock && wait {
		rest = rest[n:]
		var more int
		more, err = c.wire.write(rest[:min(len(rest), pieceSize)])
		n += more
	}
	c.mu.Lock()
	o.done += n
	c.wroteLocked(o, n)
	return err
}

// wroteLocked counts n bytes that the connection has taken.
func (c *Client) wroteLocked(o *output, n int) {
	c.count.bytesOut += int64(n)
	o.size -= n
	o.sent += int64(n)
	if n > 0 && !c.busy {
		c.wire.touch() // what a batch writes, its end notes
	}
	if n > 0 && o.waiting > 0 {
		o.changed.Broadcast()
	}
}

// resumeOutput goes on writing to a socket that takes more again.
func (c *Client) resumeOutput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && c.out.blocked {
		c.out.blocked = false
		c.startFlushLocked()
	}
}

// awaitOutput reports whether all that was written until the end of the last batch
// is sent, or cannot be. If not, the wire's wake is called when it is.
func (c *Client) awaitOutput() (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent = c.sentLocked()
	c.awaited = !sent
	return sent
}

// sentLocked is awaitOutput, but asks only. What others have written since the
// batch does not count: a steady feed would hold up the client's own frames.
func (c *Client) sentLocked() bool {
	o := c.out
	return o == nil || !o.flushing && (o.sent >= o.target || c.fail != nil)
}

// failed reports whether something that was written could not be sent.
func (c *Client) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fail != nil
}

// failLocked ends the client's output: err, and ErrClosed, is what Write returns
// from now on.
func (c *Client) failLocked(err error) {
	if c.fail == nil {
		c.fail = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if c.out != nil {
		c.out.changed.Broadcast() // who waits for room waits in vain
	}
	c.endIO(err)
	c.wire.wake()
}

// shutOutput refuses further writes.
func (c *Client) shutOutput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	if c.out != nil {
		c.out.changed.Broadcast()
	}
}

// closeOutput refuses further writes, ends a batch that may be open, and waits
// for writes in flight. It reports false if not all that was written before is
// sent.
func (c *Client) closeOutput(bytes, frames int64) (sent bool) {
	c.shutOutput()
	err := c.endBatch(bytes, frames, true)
	c.mu.Lock()
	if c.fail == nil {
		c.fail = ErrClosed
	} else if err == nil {
		err = c.fail
	}
	c.mu.Unlock()
	return !c.wire.writers().WaitWithTimeout(flushTimeout) && err == nil
}

// freeOutput gives the buffers back, when nobody writes any more. The connection
// is closed, so that does not take long.
func (c *Client) freeOutput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out != nil && c.out.flushing {
		c.out.wait()
	}
	c.releaseLocked()
}

// writeLimit returns for how long the client may take nothing of what is written,
// zero for ever, and the error when it is over. A client that has ended is not
// waited for without a bound.
func (c *Client) writeLimit() (limit time.Duration, late error) {
	limit, late = c.frames.WriteTimeout, errWriteTimeout
	if limit == 0 && c.ended() {
		limit = flushTimeout
	}
	if idle := c.frames.IdleTimeout; idle > 0 && (limit == 0 || idle < limit) {
		limit, late = idle, errIdleTimeout
	}
	return limit, late
}
