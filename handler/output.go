package handler

import (
	"errors"
	"fmt"
	"sync"

	"wireline/internal/outq"
	"wireline/lib/frame"
)

// WhenSlow says what becomes of a Write to a client that has MaxPending bytes
// waiting already.
type WhenSlow int

const (
	// SlowBlock makes Write wait until the client has taken some. The write
	// timeout bounds the wait. It is the default.
	SlowBlock WhenSlow = iota
	// SlowDrop makes Write return ErrSlowReader; the message is lost as a whole,
	// the client stays. It suits feeds where the next message makes up for it.
	SlowDrop
	// SlowClose resets the client, and Write returns ErrSlowReader.
	SlowClose
)

// ErrSlowReader reports a message that was not taken because too many bytes
// wait for the client to read them.
var ErrSlowReader = errors.New("handler: slow reader")

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

	// maxPooled is the largest buffer that goes back to its pool.
	maxPooled = 64 << 10
)

// output is what a client is still to be sent, under the client's mu. A client
// has one only while something is pending or gathered. Writes to the connection do not
// wait, so they happen under mu as well.
type output struct {
	outq.Queue
	changed sync.Cond // on the client's mu: something was sent, or nothing more will be
	waiting int       // how many goroutines wait for it

	// While the connection takes no more.
	stalled int64 // since when, by the connection's clock
	left    int   // Conn.Unsent at the last look
	looks   int   // how many looks there were, up to firstLooks
}

// sending is a set of facts about a client's output, under the client's mu.
type sending uint16

const (
	busy      sending = 1 << iota // a frame is being served
	batching                      // frames are being served: their end will flush
	watched                       // the batch's loop notices if it takes long
	delayed                       // the client is in the list of delayed flushes
	blocked                       // the connection tells when it takes more
	awaited                       // the serving goroutine wants to know when all is sent
	shut                          // no further message is taken
	failed                        // nothing can be written any more
	takenOver                     // the connection has a new owner
	gone                          // the connection is closed, or has a new owner
)

func (s sending) has(bits sending) bool { return s&bits != 0 }
func (s *sending) set(bits sending)     { *s |= bits }
func (s *sending) clear(bits sending)   { *s &^= bits }

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
	if o == nil || o.Size() > 0 && !c.sending.has(failed) || c.sending.has(batching) || o.waiting > 0 {
		return
	}
	c.out = nil
	c.sending.clear(blocked)
	o.changed.L = nil
	o.Reset()
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
	c.mu.Lock()
	if o := c.out; o != nil && c.joinsLocked(o, len(p)) {
		o.Add(p)
		c.count.framesOut++
		c.mu.Unlock()
		return len(p), nil
	}
	o, err := c.admitLocked()
	switch {
	case err != nil:
	case len(p) >= directSize:
		c.sendLocked(o, p, nil)
	default:
		o.Add(p)
		c.count.framesOut++
		c.flushLaterLocked(o)
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// joinsLocked reports whether n bytes more only join what the batch has
// gathered: the usual case, in short.
func (c *Client) joinsLocked(o *output, n int) bool {
	return c.sending&(batching|shut|failed) == batching && c.sending.has(watched|delayed) &&
		n < directSize && o.Size()+n < min(batchSize, c.frames.maxPending())
}

// WriteFrame sends payload as one frame of the client's codec, as Write does.
// It also returns the errors of the codec's Append. A codec that takes long
// holds up nobody but the caller; calls at the same time may encode at the same time.
func (c *Client) WriteFrame(payload []byte) error {
	c.mu.Lock()
	codec := c.codec()
	if len(payload) >= directSize || !codec.quick {
		c.mu.Unlock()
		return c.writeEncoded(payload)
	}
	if o := c.out; o != nil && c.joinsLocked(o, len(payload)) {
		b, err := codec.Append(o.Tail(), payload)
		if err == nil {
			o.Grown(b)
			c.count.framesOut++
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
	b, err := codec.Append(o.Tail(), payload)
	if err != nil {
		c.releaseLocked()
		return err
	}
	o.Grown(b)
	c.count.framesOut++
	c.flushLaterLocked(o)
	return nil
}

// writeEncoded is WriteFrame for a payload that may take its time to be encoded. It
// encodes without mu, for which the watchdog of the loops and a drain cannot wait. Of
// frames that are encoded at the same time the first to be ready goes first.
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

// writeParts writes a frame that encode has made. If the client has another codec by
// now, it is to be made again.
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
	o.Add(head)
	if p != nil {
		c.sendLocked(o, p, tail)
		return false, nil
	}
	o.Add(tail)
	c.count.framesOut++
	c.flushLaterLocked(o)
	return false, nil
}

// Flush sends what was written so far, without waiting for the client to read
// it. A frame function that goes on to something slow calls it when what it
// wrote is to be seen before.
func (c *Client) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked(false)
	return c.failureLocked()
}

// admitLocked lets a message in, by the rule for slow readers, and returns the
// output to add it to.
func (c *Client) admitLocked() (*output, error) {
	for !c.sending.has(shut | failed) {
		o := c.outputLocked()
		if o.Size() < c.frames.maxPending() {
			return o, nil
		}
		switch c.frames.WhenSlow {
		case SlowDrop:
			return nil, ErrSlowReader
		case SlowClose:
			c.end(ByServer, ReasonSlowReader, fmt.Errorf("%d bytes pending", o.Size()))
			c.failLocked(fmt.Errorf("%w: %w", ErrClosed, ErrSlowReader))
			c.abortLocked()
		default:
			if c.sending.has(blocked) {
				o.wait()
			} else {
				c.flushLocked(false)
			}
		}
	}
	defer c.releaseLocked()
	if err := c.failureLocked(); err != nil {
		return nil, err
	}
	return nil, ErrClosed
}

// flushLaterLocked flushes what is pending now, or leaves that to the batch.
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

// sendLocked sends a message of two parts, after what is pending. What the
// connection does not take at once is copied.
func (c *Client) sendLocked(o *output, p, tail []byte) {
	c.count.framesOut++
	if c.sending.has(blocked) || !o.Single() {
		o.Add(p)
		o.Add(tail)
	} else {
		head := o.Head()
		n, err := c.conn.Write([3][]byte{head, p, tail})
		o.Through(n, p, tail)
		c.sentLocked(o, n)
		if err == nil && o.Size() > 0 {
			err = c.blockLocked(o, false)
		}
		if err != nil {
			c.breakLocked(err)
		}
	}
	c.flushLaterLocked(o)
}

// flushLocked writes what the connection takes at once. When it takes more, Writable
// goes on. returning is as of Conn.WatchOut.
func (c *Client) flushLocked(returning bool) {
	o := c.out
	if o == nil {
		return
	}
	for !c.sending.has(blocked|failed) && o.Size() > 0 {
		head := o.Head()
		n, err := c.conn.Write([3][]byte{head})
		o.Take(n)
		c.sentLocked(o, n)
		if err == nil && n < len(head) {
			err = c.blockLocked(o, returning)
		}
		if err != nil {
			c.breakLocked(err)
		}
	}
	if c.sending.has(awaited) && c.flushedLocked() {
		c.sending.clear(awaited)
		c.conn.Wake()
	}
	c.releaseLocked()
}

// sentLocked counts n bytes that the connection has taken.
func (c *Client) sentLocked(o *output, n int) {
	if n == 0 {
		return
	}
	c.count.bytesOut += int64(n)
	if !c.sending.has(busy) {
		c.touch() // what a batch writes, its end notes
	}
	if o.waiting > 0 {
		o.changed.Broadcast()
	}
}

// blockLocked has Writable called when the connection takes more, and looks after the
// write timeout until then.
func (c *Client) blockLocked(o *output, returning bool) error {
	if err := c.conn.WatchOut(returning); err != nil {
		return err
	}
	c.sending.set(blocked)
	o.stalled, o.looks = c.conn.Now(), 0
	if limit, _ := c.writeLimit(); limit > 0 {
		c.armLocked(o.stalled + o.nextLook(limit))
	}
	return nil
}

// resumeOutput goes on writing to a connection that takes more again.
func (c *Client) resumeOutput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending.has(blocked) {
		c.sending.clear(blocked)
		c.flushLocked(false)
	}
}

// beginBatch marks the client busy, and holds replies back until endBatch.
func (c *Client) beginBatch() {
	c.mu.Lock()
	c.sending.set(busy | batching)
	if c.flags.has(inLoop) {
		c.sending.set(watched)
	} else {
		c.sending.clear(watched)
	}
	c.outputLocked()
	c.mu.Unlock()
}

// endBatch sends what was gathered since beginBatch, and counts what was read and
// served. Nothing is read until all of that is sent.
func (c *Client) endBatch() {
	c.mu.Lock()
	c.count.bytesIn += c.bytesIn
	c.count.framesIn += c.framesIn
	c.bytesIn, c.framesIn = 0, 0
	c.sending.clear(batching)
	if c.out != nil {
		c.out.Mark()
		c.flushLocked(true)
	}
	if !c.flushedLocked() {
		c.input.set(unsent)
	}
	c.sending.clear(busy)
	if c.sending.has(delayed) && c.frames.delayed.dropOnly(c) {
		c.sending.clear(delayed)
	}
	c.mu.Unlock()
}

// spread sends what a batch that takes long has held back, and from now on at once what
// it writes.
func (c *Client) spread() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending.has(batching) {
		c.sending.clear(batching)
		c.flushLocked(false)
	}
}

// awaitOutput reports whether all that was written until the end of the last batch
// is sent, or cannot be. If not, the client is woken when it is.
func (c *Client) awaitOutput() (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent = c.flushedLocked()
	if !sent {
		c.sending.set(awaited)
	}
	return sent
}

// flushedLocked is awaitOutput, but asks only. What others have written since the
// batch does not count: a steady feed would hold up the client's own frames.
func (c *Client) flushedLocked() bool {
	return c.out == nil || c.sending.has(failed) || c.out.Marked()
}

// breakLocked ends the client because of a write that failed with err.
func (c *Client) breakLocked(err error) {
	c.failLocked(fmt.Errorf("%w: %w", ErrClosed, err))
	c.endIO(err)
	c.conn.Wake()
}

// failLocked ends the client's output: err is what Write returns from now on.
func (c *Client) failLocked(err error) {
	if !c.sending.has(failed) {
		c.sending.set(failed)
		if err != ErrClosed {
			c.tailLocked().fail = err
		}
	}
	if c.out != nil {
		c.out.changed.Broadcast()
	}
}

// failureLocked is why nothing can be written any more; nil if that is not so.
func (c *Client) failureLocked() error {
	switch {
	case !c.sending.has(failed):
		return nil
	case c.rest != nil && c.rest.fail != nil:
		return c.rest.fail
	}
	return ErrClosed
}

// shutOutput refuses further messages, and ends a batch that may be open.
func (c *Client) shutOutput() {
	c.mu.Lock()
	c.sending.set(shut)
	if c.out != nil {
		c.out.changed.Broadcast()
	}
	c.mu.Unlock()
	c.endBatch()
}
