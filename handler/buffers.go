package handler

import (
	"sync"

	"wireline/internal/eventloop"
	"wireline/lib/frame"
)

const (
	// pooledSize is the size of the smallest buffer in buffers: so much is read at once.
	pooledSize = 16 << 10

	// loopBuffer is the size of the buffer that a loop reads into. A client that does
	// not take its replies keeps one, with the frames that are still to be served.
	loopBuffer = 32 << 10

	// maxLoopBuffer is how large it may become for long frames.
	maxLoopBuffer = 4 << 20

	// maxRest is how much of a frame that has begun is kept in a buffer of just
	// its size, so that the loop's own is free for others.
	maxRest = 4 << 10
)

// buffers holds the frame.Buffers of clients that have nothing to split.
var buffers = sync.Pool{New: func() any { return frame.NewBuffer(pooledSize) }}

// takeBuffer gives c a buffer to read into, the worker's own if it has one. What
// was left of the last read is in it.
func (c *Client) takeBuffer(w *eventloop.Worker) {
	if c.in != nil && c.in.Cap() > maxRest {
		return
	}
	rest := c.in
	if in, ok := w.Local.(*frame.Buffer); ok && in != nil {
		w.Local = (*frame.Buffer)(nil)
		c.in = in
	} else if w.InLoop() {
		c.in = frame.NewBuffer(loopBuffer)
	} else {
		c.in = buffers.Get().(*frame.Buffer)
	}
	if rest != nil {
		rest.MoveTo(c.in)
	}
}

// holds reports whether the buffer is needed while nothing is read: a part of a
// frame is in it, or of one that is thrown away.
func (c *Client) holds() bool {
	return c.in != nil && (c.in.Len() > 0 || c.in.Discarding())
}

// leaveBuffer gives the buffer back, but for what is left in it. A loop keeps it,
// also a large one: the next frames may be as long.
func (c *Client) leaveBuffer(w *eventloop.Worker) {
	in := c.in
	switch {
	case in == nil:
		return
	case !c.holds():
		c.in = nil
	case in.Cap() <= maxRest || fits(in.Cap(), in.Len()):
		return
	default:
		size := in.Len()
		if size > maxRest {
			size *= 2 // it is read into
		}
		c.in = frame.NewBuffer(size)
		in.MoveTo(c.in)
	}
	in.Reset()
	own, _ := w.Local.(*frame.Buffer)
	switch {
	case in.Cap() < pooledSize: // too small for others
	case own == nil && keeps(w, in.Cap()):
		w.Local = in
	case in.Cap() <= maxPooled:
		buffers.Put(in)
	}
}

// fits reports whether a buffer of that size suits what is left in it. A large one,
// which has grown for a long frame, may be eight times as large, for a loop that is
// faster than the client comes here again and again, and would copy the frame each time
// that it has grown.
func fits(size, rest int) bool {
	return rest > maxRest && (size <= 2*rest || size > loopBuffer && size <= 8*rest)
}

// keeps reports whether w should keep a buffer of that size for its next call.
func keeps(w *eventloop.Worker, size int) bool {
	if w.InLoop() {
		return size >= loopBuffer && size <= maxLoopBuffer
	}
	return w.Keeps() && size <= maxPooled
}

// dropBuffer gives the buffer back with all that is in it.
func (c *Client) dropBuffer(w *eventloop.Worker) {
	if c.in != nil {
		c.in.Reset()
		c.leaveBuffer(w)
		c.in = nil
	}
}
