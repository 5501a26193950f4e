package handler

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/atomic"

	"wireline/lib/frame"
	"wireline/lib/sock"
)

// buffers holds the frame.Buffers of clients that have nothing to split.
var buffers = sync.Pool{New: func() any { return new(frame.Buffer) }}

// stream is a frame handler's connection on the goroutine path: one goroutine
// reads, splits and serves, and ends with the connection.
type stream struct {
	client *Client
	frames *Frames
	conn   net.Conn
	raw    raw // without waiting, where the system and the connection allow it

	in    *frame.Buffer // nil while nothing is kept
	codec frame.Codec

	// What the client's counters do not have yet.
	bytesIn, framesIn int64

	// Times are of now; zero means none. A time-out costs no timer call per
	// frame: its deadline is set, and when it fires the stream looks at what
	// has happened since and sets it anew for what is left.
	activity atomic.Int64 // the last byte either way
	partial  int64        // when the frame that is not whole yet began
	readDue  int64        // the read deadline in force
	writeDue int64        // the write deadline in force; who flushes owns it

	mu       sync.Mutex // orders deadlines between here, wake and Hijack
	hijacked bool
}

func newStream(ctx context.Context, conn net.Conn, h *Frames) *stream {
	s := &stream{
		client: &Client{ctx: ctx, frames: h, begin: time.Now()},
		frames: h,
		conn:   conn,
		codec:  h.codec(),
	}
	s.client.wire = s
	s.client.out.changed.L = &s.client.mu
	s.raw.init(s)
	s.touch()
	return s
}

// serve serves the connection until its end.
func (s *stream) serve() {
	opened, returned := false, false
	defer func() {
		if !returned { // a panic or runtime.Goexit; who called us deals with it
			s.client.end(ByServer, Panic, nil)
		}
		s.finish(opened)
	}()
	if opened = s.open(); opened {
		s.loop()
	}
	returned = true
}

func (s *stream) open() bool {
	if s.frames.OnOpen == nil {
		return true
	}
	s.begin()
	err := s.frames.OnOpen(s.client)
	if err != nil {
		s.endHandler(err)
	}
	s.done()
	return err == nil
}

// loop reads and serves until the client has an end.
func (s *stream) loop() {
	for {
		eof, ok := s.fill()
		if !ok || !s.turn(eof) {
			return
		}
		if eof {
			s.client.end(ByClient, FIN, nil)
			return
		}
	}
}

// fill reads what is there, and waits for it. It reports false when there is
// nothing more to serve, and has noted why.
func (s *stream) fill() (eof, ok bool) {
	for s.setReadDeadline() {
		n, err := s.read()
		switch {
		case n > 0:
			return false, true
		case err == io.EOF:
			return true, true
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.readDue = 0
			if !s.checkTime() {
				return false, false
			}
		case err != nil:
			s.client.endIO(err)
			return false, false
		}
	}
	return s.lastLook()
}

// lastLook is what a drain leaves of reading: a client that is idle gets its
// FIN, unless a frame of its has arrived that was not read yet.
func (s *stream) lastLook() (eof, ok bool) {
	if s.client.ended.Load() {
		return false, false
	}
	n, err := s.look()
	switch {
	case n > 0:
		return false, true
	case err == io.EOF:
		return true, true
	}
	s.client.end(ByServer, Drain, nil)
	return false, false
}

// turn serves the whole frames that are there, and writes their replies at
// once. It reports whether to go on reading.
func (s *stream) turn(eof bool) bool {
	if s.in == nil {
		return true
	}
	began := s.partial
	f, ok, err := s.in.Next(s.codec, eof)
	if ok {
		began = 0
		if err, ok = s.serveFrames(f, eof); !ok {
			return false
		}
	} else {
		s.touch()
	}
	if err != nil {
		s.endFrame(FrameError, err)
		return false
	}
	s.keep(began)
	return true
}

// serveFrames serves f and the whole frames after it, until there is an error
// in them. It reports whether to go on with the client.
func (s *stream) serveFrames(f []byte, eof bool) (err error, goOn bool) {
	c := s.client
	s.begin()
	for ok := true; ok; {
		s.framesIn++
		if failed := s.serveFrame(f); failed != nil {
			s.endHandler(failed)
		}
		if c.stopping() {
			break
		}
		f, ok, err = s.in.Next(s.codec, eof)
	}
	s.done()
	if c.draining.Load() && !eof {
		c.end(ByServer, Drain, nil)
	}
	return err, !c.ended.Load()
}

// begin marks the client busy and gathers what is written to it.
func (s *stream) begin() { s.client.beginBatch() }

// done writes what was gathered since begin. An error of that has ended the
// client.
func (s *stream) done() {
	s.client.endBatch(s.bytesIn, s.framesIn)
	s.bytesIn, s.framesIn = 0, 0
	s.touch()
}

func (s *stream) serveFrame(f []byte) error {
	if s.frames.Serve == nil {
		return nil
	}
	return s.frames.Serve(s.client, f)
}

// keep notes since when a part of a frame is waiting. If there is none, a large
// buffer goes; another one is given back when there is nothing to read.
func (s *stream) keep(began int64) {
	switch {
	case s.in.Len() == 0:
		s.partial = 0
		if s.in.Cap() > maxPooled {
			s.freeBuffer()
		}
	case began == 0:
		s.partial = s.activity.Load()
	default:
		s.partial = began
	}
}

// endHandler ends the client if the handler's error says so.
func (s *stream) endHandler(err error) {
	switch {
	case errors.Is(err, ErrClose):
		s.client.end(ByServer, Closed, nil)
	case errors.Is(err, ErrSlowReader) && s.frames.WhenSlow == Drop:
		// A reply was dropped, as was asked for; the client stays.
	default:
		s.client.end(ByServer, HandlerError, err)
	}
}

// endFrame ends the client because of what it sent or did not send, after the
// handler's last words.
func (s *stream) endFrame(reason Reason, err error) {
	if s.frames.OnError != nil {
		s.begin()
		s.frames.OnError(s.client, err)
		s.done()
	}
	s.client.end(ByServer, reason, err)
}

// now returns the time since the client came, in nanoseconds: never zero, and
// without jumps when the wall clock is set.
func (s *stream) now() int64 { return int64(time.Since(s.client.begin)) + 1 }

// touch notes a byte either way.
func (s *stream) touch() { s.activity.Store(s.now()) }

// setReadDeadline sets the deadline at which checkTime has to look next, if
// none is in force that comes before it. It reports false when nothing is to be
// waited for any more.
func (s *stream) setReadDeadline() bool {
	due := s.nextDue()
	if due != 0 && (s.readDue == 0 || s.readDue > due) {
		s.readDue = due
		s.conn.SetReadDeadline(time.Now().Add(time.Duration(due - s.now())))
	}
	// wake sets its deadline after the client's state: either it is seen here,
	// or its deadline comes after the one above.
	return !s.client.stopping()
}

// nextDue returns when the first time-out for reading ends, zero if none runs.
func (s *stream) nextDue() (due int64) {
	if idle := s.frames.IdleTimeout; idle > 0 {
		due = s.activity.Load() + int64(idle)
	}
	if limit := s.frames.FrameTimeout; limit > 0 && s.partial != 0 {
		if end := s.partial + int64(limit); due == 0 || end < due {
			due = end
		}
	}
	return due
}

// checkTime ends the client if a time-out for reading is over.
func (s *stream) checkTime() bool {
	if s.client.stopping() {
		return true
	}
	t := s.now()
	h := s.frames
	switch {
	case h.FrameTimeout > 0 && s.partial != 0 && t >= s.partial+int64(h.FrameTimeout):
		s.endFrame(FrameTimeout, os.ErrDeadlineExceeded)
		return false
	case h.IdleTimeout > 0 && t >= s.activity.Load()+int64(h.IdleTimeout):
		s.endFrame(IdleTimeout, os.ErrDeadlineExceeded)
		return false
	}
	return true
}

// read reads into the buffer, and waits for something to read. Where it can,
// it takes the buffer only when something is there.
func (s *stream) read() (n int, err error) {
	if s.raw.ok() {
		n, err = s.raw.read()
	} else {
		n, err = s.conn.Read(s.buffer().Space())
		s.in.Filled(n)
	}
	s.bytesIn += int64(n)
	return n, err
}

// look reads what is there without waiting for it.
func (s *stream) look() (n int, err error) {
	if s.raw.ok() {
		n, err = s.raw.look()
	} else {
		// A connection without such a read gets a moment.
		s.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		s.readDue = 0
		n, err = s.conn.Read(s.buffer().Space())
		s.in.Filled(n)
	}
	s.bytesIn += int64(n)
	return n, err
}

func (s *stream) buffer() *frame.Buffer {
	if s.in == nil {
		s.in = buffers.Get().(*frame.Buffer)
	}
	return s.in
}

// freeBuffer gives the buffer back. What is in it is lost.
func (s *stream) freeBuffer() {
	if s.in != nil && s.in.Cap() <= maxPooled {
		s.in.Reset()
		buffers.Put(s.in)
	}
	s.in = nil
}

// finish closes the connection as its end demands.
func (s *stream) finish(opened bool) {
	c := s.client
	defer c.owner.remove(c)
	s.mu.Lock()
	hijacked := s.hijacked
	s.mu.Unlock()
	if !hijacked {
		c.closeOutput(s.bytesIn, s.framesIn)
		s.close(c.reason())
		c.inflight.Wait() // nothing holds them: the connection is closed
	}
	s.freeBuffer()
	c.freeOutput()
	if opened && s.frames.OnClose != nil {
		s.frames.OnClose(c)
	}
}

func (s *stream) close(why Reason) {
	switch why {
	case Cut, SlowReader, WriteTimeout:
		s.reset()
	case FrameError, FrameTimeout, HandlerError, Panic, Closed:
		s.linger(lingerTime)
	case Drain:
		if n, _ := s.look(); n > 0 || s.in != nil && s.in.Len() > 0 {
			s.linger(lingerDrain) // still sending: the last reply is in danger
		} else {
			s.conn.Close()
		}
	default:
		s.conn.Close()
	}
}

// The wire of the client.

func (s *stream) addrs() (local, remote net.Addr) {
	return s.conn.LocalAddr(), s.conn.RemoteAddr()
}

func (s *stream) tryWrite(p []byte) (int, error) {
	if !s.raw.ok() {
		return 0, errWouldBlock
	}
	return s.raw.tryWrite(p)
}

// write writes all of p, in time. The time-out is for progress: it starts again
// with each byte taken.
func (s *stream) write(p []byte) (written int, err error) {
	limit := s.frames.WriteTimeout
	progress := s.now()
	for {
		if limit > 0 {
			s.setWriteDeadline(limit)
		}
		n, err := s.conn.Write(p[written:])
		written += n
		if n > 0 {
			progress = s.now()
			s.activity.Store(progress)
		}
		if limit == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			s.clearWriteDeadline()
			return written, err
		}
		s.writeDue = 0
		if stalled := s.now() - progress; stalled >= int64(limit) {
			return written, errWriteTimeout
		}
	}
}

// setWriteDeadline lets the connection's Write return after a sixteenth of the
// time-out, to see whether it got on. A deadline that has most of that still to
// run is left as it is.
func (s *stream) setWriteDeadline(limit time.Duration) {
	step := max(limit/16, time.Millisecond)
	if t := s.now(); s.writeDue < t+int64(step)/2 {
		s.writeDue = t + int64(step)
		s.conn.SetWriteDeadline(time.Now().Add(step))
	}
}

// clearWriteDeadline undoes setWriteDeadline where writes go past it: a
// deadline that is over makes them fail.
func (s *stream) clearWriteDeadline() {
	if s.raw.ok() && s.writeDue != 0 {
		s.writeDue = 0
		s.conn.SetWriteDeadline(time.Time{})
	}
}

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hijacked {
		s.conn.SetReadDeadline(past)
	}
}

func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hijacked {
		sock.Reset(s.conn)
	}
}
