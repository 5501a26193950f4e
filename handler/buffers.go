package handler

import (
	"sync"

	"wireline/internal/eventloop"
	"wireline/lib/frame"
)

const (
	// pooledSize is the size of the smallest buffer in buffers, and so the size of one
	// read.
	pooledSize = 16 << 10

	// loopBuffer is the size of the buffer that a loop reads into. A client that does
	// not accept its replies keeps such a buffer with the frames that are not served
	// yet.
	loopBuffer = 32 << 10

	// maxLoopBuffer is how large the buffer of a loop may grow for long frames.
	maxLoopBuffer = 4 << 20

	// maxPartial is the longest partial frame that is moved to a buffer of exactly its
	// size, so that the large buffer is free for others.
	maxPartial = 4 << 10
)

// buffers holds empty buffers.
var buffers = sync.Pool{New: func() any { return frame.NewBuffer(pooledSize) }}

// takeBuffer gives c a buffer to read into: the one of the worker if it has one. It
// moves the partial frame of the last read into that buffer.
func (c *Client) takeBuffer(w *eventloop.Worker) {
	if c.in != nil && c.in.Cap() > maxPartial {
		return
	}
	partial := c.in
	if in, ok := w.Frames.(*frame.Buffer); ok && in != nil {
		w.Frames = (*frame.Buffer)(nil)
		c.in = in
	} else if w.InLoop() {
		c.in = frame.NewBuffer(loopBuffer)
	} else {
		c.in = buffers.Get().(*frame.Buffer)
	}
	if partial != nil {
		partial.MoveTo(c.in)
	}
}

// holdsInput reports whether the buffer must be kept: it holds a partial frame, or is
// discarding one.
func (c *Client) holdsInput() bool {
	return c.in != nil && (c.in.Len() > 0 || c.in.Discarding())
}

// leaveBuffer gives the buffer back, except for the input that is left in it. A loop
// keeps even a large buffer, because the next frames may be as long.
func (c *Client) leaveBuffer(w *eventloop.Worker) {
	in := c.in
	switch {
	case in == nil:
		return
	case !c.holdsInput():
		c.in = nil
	case in.Cap() <= maxPartial || fitsPartial(in.Cap(), in.Len()):
		return
	default:
		size := in.Len()
		if size > maxPartial {
			size *= 2 // the client reads into this buffer
		}
		c.in = frame.NewBuffer(size)
		in.MoveTo(c.in)
	}
	in.Reset()
	own, _ := w.Frames.(*frame.Buffer)
	switch {
	case in.Cap() < pooledSize: // too small for other clients
	case own == nil && workerKeeps(w, in.Cap()):
		w.Frames = in
	case in.Cap() <= maxPooled:
		buffers.Put(in)
	}
}

// fitsPartial reports whether a buffer of the given size suits a partial frame of n
// bytes. A large buffer, which has grown for a long frame, may be eight times as large
// as the frame: a loop that is faster than the client comes here again and again, and
// would otherwise copy the frame each time it has grown.
func fitsPartial(size, n int) bool {
	return n > maxPartial && (size <= 2*n || size > loopBuffer && size <= 8*n)
}

// workerKeeps reports whether w keeps a buffer of the given size for its next call.
func workerKeeps(w *eventloop.Worker, size int) bool {
	if w.InLoop() {
		return size >= loopBuffer && size <= maxLoopBuffer
	}
	return w.Keeps() && size <= maxPooled
}

// dropBuffer gives the buffer back and discards the input in it.
func (c *Client) dropBuffer(w *eventloop.Worker) {
	if c.in != nil {
		c.in.Reset()
		c.leaveBuffer(w)
		c.in = nil
	}
}
