package proxy

import (
	"io"
	"sync"

	"wireline/internal/eventloop"
	"wireline/internal/transport"
)

const (
	// bufferSize is how much is copied at once.
	bufferSize = 32 << 10

	// smallSize is the size of the buffer in which no more than that waits to be written: where
	// each write is reported later, as on Windows, every message waits.
	smallSize = 2 << 10

	// spliceAfter is how many reads in a row must fill the buffer for a stream to be
	// spliced. Small messages are cheaper to copy: a splice is two calls for each
	// direction of a pipe, and a read and a write are two in all.
	spliceAfter = 2

	// spliceLeast is how much a splice must move to be worth it, and spliceUntil how many
	// in a row must move less for the stream to be copied again. One alone says little:
	// between two bursts each stream has a short one.
	spliceLeast = bufferSize / 2
	spliceUntil = 4
)

// buffer has bufferSize or smallSize bytes.
type buffer struct{ bytes []byte }

// buffers and smallBuffers hold *buffer.
var (
	buffers      = sync.Pool{New: func() any { return &buffer{make([]byte, bufferSize)} }}
	smallBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, smallSize)} }}
)

// give gives a buffer back to those of its size.
func (b *buffer) give() {
	if len(b.bytes) == smallSize {
		smallBuffers.Put(b)
	} else {
		buffers.Put(b)
	}
}

// flow is one direction. While nothing waits to be written it holds nothing.
type flow struct {
	buffer     *buffer // nil if nothing waits in one
	pipe       *pipe   // nil if nothing waits in one
	begin, end uint16  // of what waits in the buffer

	splices bool
	against uint8 // reads in a row that speak against what is done now

	read, written int64
}

// waits reports whether something was read and is not written.
func (f *flow) waits() bool { return f.buffer != nil || f.pipe != nil }

// drop throws away what waits.
func (f *flow) drop(pipes *pipes) {
	if f.buffer != nil {
		f.buffer.give()
		f.buffer = nil
	}
	if f.pipe != nil {
		pipes.put(f.pipe)
		f.pipe = nil
	}
}

// judge goes from copying to splicing, or back, after limit reads in a row that speak
// against what is done now.
func (f *flow) judge(against bool, limit uint8) {
	if !against {
		f.against = 0
	} else if f.against++; f.against >= limit {
		f.splices, f.against = !f.splices, 0
	}
}

// takeBuffer returns the worker's buffer, or one for a worker that keeps none.
func takeBuffer(w *eventloop.Worker) *buffer {
	if b, _ := w.Pairs.(*buffer); b != nil {
		w.Pairs = (*buffer)(nil)
		return b
	}
	return buffers.Get().(*buffer)
}

func leaveBuffer(w *eventloop.Worker, b *buffer) {
	if w.Keeps() {
		w.Pairs = b
	} else {
		buffers.Put(b)
	}
}

// read carries out actRead, actLook or actDiscard.
func (s *side) read(w *eventloop.Worker, a action, now int64) {
	if a == actRead && s.flow.splices && s.splice(now) {
		return
	}
	b := takeBuffer(w)
	var n int
	var drained bool
	var err error
	if a == actLook {
		s.unlocked(func() { n, drained, err = s.transport().Look(b.bytes) }) // it may wait for a moment
	} else {
		n, drained, err = s.transport().Read(b.bytes)
	}
	if s.tls != nil {
		s.partial = uint32(s.tls.Buffered())
	}
	if err == transport.ErrTruncated {
		s.truncated, err = true, io.EOF // the end without a close_notify is passed on as such
	}
	x := &s.pair.wire
	switch {
	case a == actDiscard:
		x.discarded(s.id, n, drained, err)
	case x.received(s.id, a == actLook, n, drained, err, now):
		s.flow.read += int64(n)
		s.flow.judge(n == len(b.bytes), spliceAfter)
		if s.copy(b, n, now) {
			return
		}
	case err != nil:
		s.pair.dropUnwanted()
	case s.tls != nil && s.tls.Arrived() && s.tls.Partial():
		x.moved(now) // a record is on its way
	}
	leaveBuffer(w, b)
}

// copy writes the first n bytes of b, which were read from s, to the other side. It reports whether
// b is kept for what is left.
func (s *side) copy(b *buffer, n int, now int64) (kept bool) {
	f, to := &s.flow, s.other()
	sent, err := to.transport().Write([3][]byte{b.bytes[:n]})
	left := err == nil && sent < n
	if left {
		err = to.transport().WatchOut(false)
	}
	if left && err == nil {
		f.keep(b, sent, n)
	}
	f.written += int64(sent)
	s.pair.wire.wrote(s.id, sent, left, err, now)
	return f.buffer == b
}

// keep keeps what waits in b, from begin to end: in b, or in a small buffer.
func (f *flow) keep(b *buffer, begin, end int) {
	if end-begin <= smallSize {
		small := smallBuffers.Get().(*buffer)
		begin, end = 0, copy(small.bytes, b.bytes[begin:end])
		b = small
	}
	f.buffer, f.begin, f.end = b, uint16(begin), uint16(end)
}

// flush writes what waits to the other side, as far as it takes that.
func (s *side) flush(now int64) {
	f, to := &s.flow, s.other()
	var n int
	var left bool
	var err error
	if f.pipe != nil {
		n, err = f.pipe.writeTo(&to.socket)
		left = err == nil && f.pipe.size > 0
	} else {
		n, err = to.transport().Write([3][]byte{f.buffer.bytes[f.begin:f.end]})
		f.begin += uint16(n)
		left = err == nil && f.begin < f.end
	}
	if left {
		err = to.transport().WatchOut(false)
	}
	f.written += int64(n)
	s.pair.wire.wrote(s.id, n, left, err, now)
	s.pair.dropUnwanted()
}
