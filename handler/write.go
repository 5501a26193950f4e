package handler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"wireline/lib/frame"
)

// WhenSlow says what a Write does when MaxPending bytes are already pending.
type WhenSlow int

const (
	// SlowBlock makes Write wait until the client has accepted some output. The write
	// timeout bounds the wait. It is the default.
	SlowBlock WhenSlow = iota
	// SlowDrop makes Write return ErrSlowReader. The whole message is dropped, and the
	// client stays. This suits feeds where a later message replaces an earlier one.
	SlowDrop
	// SlowClose resets the client, and Write returns ErrSlowReader joined with
	// ErrClosed.
	SlowClose
)

// ErrSlowReader is returned by Write when it has dropped a message because the client
// does not read fast enough. See WhenSlow.
var ErrSlowReader = errors.New("handler: slow reader")

// Write sends p to the client. It does not keep p. Concurrent calls do not mix their
// messages: each message is sent whole, in the order of the calls.
//
// While a frame of the client is being served, output is gathered and sent when no
// further whole frame is waiting, or after a few milliseconds; Flush sends it at once.
// At other times, Write sends at once. Write does not wait for the client to read,
// unless MaxPending bytes are pending: then Frames.WhenSlow decides.
//
// The error is ErrSlowReader, or ErrClosed joined with the error that ended the client,
// or ErrHijacked. Success means that the output was accepted, not that the client has
// received it.
func (c *Client) Write(p []byte) (int, error) {
	c.mu.Lock()
	if o := c.out; o != nil && c.joinsLocked(o, len(p)) {
		o.Add(p)
		c.count.FramesOut++
		c.mu.Unlock()
		return len(p), nil
	}
	o, err := c.admitLocked(context.Background())
	switch {
	case err != nil:
	case len(p) >= directSize:
		c.sendLocked(o, p, nil)
	default:
		o.Add(p)
		c.count.FramesOut++
		c.flushLaterLocked(o)
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// joinsLocked reports whether n more bytes simply join the output that the batch has
// gathered. This is the fast path.
func (c *Client) joinsLocked(o *output, n int) bool {
	return c.sending&(batching|shut|failed) == batching && c.sending.has(watched|delayed) &&
		n < directSize && o.Size()+n < min(batchSize, c.frames.maxPending())
}

// WriteFrame encodes payload as one frame with the codec of the client and sends it as
// Write does. It also returns the errors of the Append method of the codec. A slow
// codec delays only the caller, and concurrent calls may encode at the same time.
func (c *Client) WriteFrame(payload []byte) error {
	return c.WriteFrameContext(context.Background(), payload)
}

// WriteFrameContext is WriteFrame, but waits no longer than ctx for a client that has MaxPending
// bytes pending. Then the error is the cause of ctx, and nothing of the frame is sent.
func (c *Client) WriteFrameContext(ctx context.Context, payload []byte) error {
	c.mu.Lock()
	codec := c.codec()
	if len(payload) >= directSize || !codec.quick {
		c.mu.Unlock()
		return c.writeEncoded(ctx, payload)
	}
	if o := c.out; o != nil && c.joinsLocked(o, len(payload)) {
		b, err := codec.Append(o.Tail(), payload)
		if err == nil {
			o.Grown(b)
			c.count.FramesOut++
		}
		c.mu.Unlock()
		return err
	}
	defer c.mu.Unlock()
	o, err := c.admitLocked(ctx)
	if err != nil {
		return err
	}
	return c.appendLocked(o, codec, payload)
}

// appendLocked sends a small payload, encoded by a quick codec.
func (c *Client) appendLocked(o *output, codec *clientCodec, payload []byte) error {
	b, err := codec.Append(o.Tail(), payload)
	if err != nil {
		c.releaseLocked()
		return err
	}
	o.Grown(b)
	c.count.FramesOut++
	c.flushLaterLocked(o)
	return nil
}

// writeEncoded is WriteFrame for a payload that may take long to encode. It encodes
// without mu: a loop's watchdog and a drain must not wait for it. If frames are encoded
// at the same time, the one that is ready first is sent first.
func (c *Client) writeEncoded(ctx context.Context, payload []byte) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	for {
		codec, err := c.admit(ctx)
		if err != nil {
			return err
		}
		parts, err := encode(codec, (*buf)[:0], payload)
		if err != nil {
			return err
		}
		again, err := c.writeParts(ctx, parts, codec)
		if cap(parts[0]) <= maxPooled {
			*buf = parts[0]
		}
		if !again {
			return err
		}
	}
}

// scratch holds the buffers of writeEncoded.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// admit waits until a message would be accepted, so that no message is encoded in vain.
// It returns the codec for it.
func (c *Client) admit(ctx context.Context) (*clientCodec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.admitLocked(ctx); err != nil {
		return nil, err
	}
	c.releaseLocked()
	return c.codec(), nil
}

// encode encodes payload as a frame, in up to three parts. The first part is in buf. A
// large payload is not copied if the codec is a frame.Wrapper.
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

// writeParts writes a frame that encode has made with codec. If the client has another
// codec by now, it writes nothing and reports that the frame has to be encoded again.
func (c *Client) writeParts(ctx context.Context, parts [3][]byte, codec *clientCodec) (again bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.admitLocked(ctx)
	if err != nil {
		return false, err
	}
	if c.codec() != codec {
		c.releaseLocked()
		return true, nil
	}
	c.addPartsLocked(o, parts)
	return false, nil
}

// addPartsLocked sends a frame that encode has made, after the pending output.
func (c *Client) addPartsLocked(o *output, parts [3][]byte) {
	head, p, tail := parts[0], parts[1], parts[2]
	if p == nil && len(head) >= directSize {
		head, p = nil, head
	}
	o.Add(head)
	if p != nil {
		c.sendLocked(o, p, tail)
		return
	}
	o.Add(tail)
	c.count.FramesOut++
	c.flushLaterLocked(o)
}

// noWait is the context of a message that must not wait: it has ended.
var noWait = func() context.Context {
	ctx, end := context.WithCancelCause(context.Background())
	end(ErrSlowReader)
	return ctx
}()

// admitLocked waits until a message is accepted, or refuses it, as WhenSlow says. Where it would
// wait after the end of ctx, it returns the cause. It returns the output to add the message to.
func (c *Client) admitLocked(ctx context.Context) (*output, error) {
	for !c.sending.has(shut | failed) {
		o := c.outputLocked()
		if !c.mayQueueLocked(o) {
			break
		}
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
			switch {
			case !c.sending.has(blocked | held):
				c.flushLocked(false)
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			default:
				c.awaitChange(ctx, o)
			}
		}
	}
	defer c.releaseLocked()
	if err := c.failureLocked(); err != nil {
		return nil, err
	}
	return nil, c.closedErr()
}

// awaitChange waits until output was sent, cannot be sent any more, or ctx has ended. The caller holds
// mu.
func (c *Client) awaitChange(ctx context.Context, o *output) {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, c.wakeWriters)()
	}
	o.wait()
}

// wakeWriters makes all who wait for room look again.
func (c *Client) wakeWriters() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		c.out.changed.Broadcast()
	}
}
