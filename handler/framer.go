package handler

import (
	"errors"
	"sync"

	"wireline/lib/frame"
)

// buffers holds the frame.Buffers of clients that have nothing to split.
var buffers = sync.Pool{New: func() any { return new(frame.Buffer) }}

// yieldEvery is after how many frames of one client a turn looks at the clock.
const yieldEvery = 16

// framer splits what was read from a client and serves the frames: the part that
// both ways to hold a connection have in common. It belongs to the goroutine
// that serves the client at the moment.
type framer struct {
	client *Client
	in     *frame.Buffer // nil while nothing is kept

	// What the client's counters do not have yet.
	bytesIn, framesIn int64

	// partial is when the frame that is not whole yet began, by the wire's
	// clock; zero if there is none.
	partial int64
}

// verdict is what a turn has come to.
type verdict int

const (
	drained verdict = iota // no whole frame is left
	early                  // it stopped early: whole frames may be left
	over                   // the client has an end
)

// open calls OnOpen, and reports whether to go on with the client.
func (f *framer) open(inline bool) bool {
	c := f.client
	ok := true
	if c.frames.OnOpen != nil {
		c.beginBatch(inline)
		ok = f.goesOn(c.frames.OnOpen(c))
		f.endBatch()
	}
	c.opened.Store(ok)
	return ok
}

// turn serves the whole frames that are there, and writes their replies at once.
// It stops early at the time until, if that is not zero.
func (f *framer) turn(eof, inline bool, until int64) verdict {
	if f.in == nil {
		return drained
	}
	c := f.client
	began := f.partial
	b, ok, err := f.next(eof)
	if ok || err != nil {
		began = 0
		c.beginBatch(inline)
		v := f.serveAll(b, ok, err, eof, until)
		f.endBatch()
		if v != drained {
			return v
		}
	} else {
		c.wire.touch()
	}
	f.keep(began)
	return drained
}

// next splits off the next frame.
func (f *framer) next(eof bool) ([]byte, bool, error) {
	return f.in.Next(f.client.codec(), eof)
}

// serveAll serves the frame b, if ok says that there is one, and those after it.
// err is what the codec says of what comes then.
func (f *framer) serveAll(b []byte, ok bool, err error, eof bool, until int64) verdict {
	c := f.client
	for n := 1; ; n++ {
		switch {
		case ok:
			f.framesIn++
			f.goesOn(f.serve(b))
		case err == nil:
			return f.stop(eof, drained)
		case !f.skip(err):
			f.endInput(FrameError, err)
			return over
		}
		if c.stopping() || c.paused.Load() || until != 0 && n%yieldEvery == 0 && c.wire.now() > until {
			return f.stop(eof, early)
		}
		b, ok, err = f.next(eof)
	}
}

// stop is the end of a turn. In a drain it is the client's end too, unless
// something is still to be answered that came before its own.
func (f *framer) stop(eof bool, v verdict) verdict {
	c := f.client
	if c.draining.Load() && (!eof || f.in.Len() > 0) {
		c.end(ByServer, Drain, nil)
	}
	if c.ended() {
		return over
	}
	return v
}

// skip passes over a frame that is too long, if that is what the handler wants
// and the codec can, and reports whether it does.
func (f *framer) skip(err error) bool {
	c := f.client
	if c.frames.TooLong != Discard || !errors.Is(err, frame.ErrTooLong) || !f.in.Discard(c.codec()) {
		return false
	}
	if c.frames.OnError != nil {
		c.frames.OnError(c, err)
	}
	return true
}

func (f *framer) serve(b []byte) error {
	if serve := f.client.frames.Serve; serve != nil {
		return serve(f.client, b)
	}
	return nil
}

// endBatch writes what was gathered. An error of that has ended the client.
func (f *framer) endBatch() {
	c := f.client
	c.wire.endBatch(f.bytesIn, f.framesIn)
	f.bytesIn, f.framesIn = 0, 0
	c.wire.touch()
}

// keep notes since when a part of a frame is waiting.
func (f *framer) keep(began int64) {
	switch {
	case !f.holds():
		f.partial = 0
	case began == 0:
		f.partial = f.client.wire.last()
	default:
		f.partial = began
	}
}

// holds reports whether the buffer is needed while nothing is read: a part of a
// frame is in it, or of one that is thrown away.
func (f *framer) holds() bool {
	return f.in != nil && (f.in.Len() > 0 || f.in.Discarding())
}

// goesOn ends the client if the handler's error says so, and reports whether it
// does not.
func (f *framer) goesOn(err error) bool {
	c := f.client
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrSlowReader) && c.frames.WhenSlow == Drop:
		return true // a reply was dropped, as was asked for
	case errors.Is(err, ErrClose):
		c.end(ByServer, Closed, nil)
	default:
		c.end(ByServer, HandlerError, err)
	}
	return false
}

// endInput ends the client because of what it sent or did not send, after the
// handler's last words, which endBatch sends.
func (f *framer) endInput(reason Reason, err error) {
	c := f.client
	if c.frames.OnError != nil {
		c.frames.OnError(c, err)
	}
	c.end(ByServer, reason, err)
}

func (f *framer) buffer() *frame.Buffer {
	if f.in == nil {
		f.in = buffers.Get().(*frame.Buffer)
	}
	return f.in
}

// freeBuffer gives the buffer back. What is in it is lost.
func (f *framer) freeBuffer() {
	if f.in != nil && f.in.Cap() <= maxPooled {
		f.in.Reset()
		buffers.Put(f.in)
	}
	f.in = nil
}
