package handler

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"wireline/internal/netconn"
	"wireline/lib/sync/wait"
)

// lookTime bounds what a drain still reads of a frame that has arrived.
const lookTime = 100 * time.Millisecond

// stream is a frame handler's connection on the goroutine path: one goroutine
// reads, splits and serves, and ends with the connection.
type stream struct {
	accepted Accepted
	client   *Client
	conn     net.Conn
	raw      raw  // without waiting, where the system and the connection allow it
	resumes  bool // a Write may go on after a time-out; not under TLS

	inflight wait.Wait
	resumed  chan struct{} // Resume was called

	lookUntil int64 // when the drain's last look is over; see lastLook

	// Times are of now; zero means none. A time-out costs no timer call per
	// frame: its deadline is set, and when it fires the stream looks at what
	// has happened since and sets it anew for what is left.
	activity stdatomic.Int64 // the last byte either way
	readDue  int64           // the read deadline in force
	writeDue int64           // the write deadline in force; who flushes owns it

	mu       sync.Mutex // orders wake and reset against Hijack
	hijacked bool
}

func newStream(a Accepted, conn net.Conn, h *Frames) *stream {
	s := &stream{accepted: a, conn: conn, resumed: make(chan struct{}, 1)}
	s.client = &Client{ctx: a.Context(), frames: h, begin: now(), wire: s}
	s.raw.init(s)
	s.client.direct = s.raw.ok()
	s.resumes = resumes(conn)
	s.touch()
	return s
}

// resumes reports whether Write may be called again after a time-out. crypto/tls
// does not allow that; of what is not known, nothing is expected.
func resumes(conn net.Conn) bool {
	switch bare(conn).(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	_, ok := conn.(interface{ SetLinger(sec int) error }) // tcptest.Conn, and the like
	return ok
}

// serve serves the connection until its end.
func (s *stream) serve() {
	opened, returned := false, false
	defer func() {
		if !returned { // a panic or runtime.Goexit; serveAccepted reports it
			s.client.end(ByServer, Panic, nil)
		}
		s.finish(opened)
	}()
	if opened = s.client.callOnOpen(false); opened {
		s.loop()
	}
	returned = true
}

// loop reads and serves until the client has an end.
func (s *stream) loop() {
	for {
		eof, ok := s.fill()
		if !ok {
			return
		}
		for v := early; v == early; {
			if !s.awaitResume() {
				return
			}
			v = s.client.turn(eof, false, 0)
			if v == over {
				return
			}
		}
		if eof {
			s.client.end(ByClient, FIN, nil)
			return
		}
		if s.client.in != nil && s.client.in.Cap() > maxPooled && !s.client.holds() {
			s.client.freeBuffer()
		}
	}
}

// fill reads what is there, and waits for it. It reports false when there is
// nothing more to serve, and has noted why.
func (s *stream) fill() (eof, ok bool) {
	for s.awaitResume() && s.setReadDeadline() {
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
	if s.lookUntil == 0 {
		s.lookUntil = s.now() + int64(lookTime)
	}
	if s.client.ended() || s.now() > s.lookUntil {
		s.client.end(ByServer, Drain, nil)
		return false, false
	}
	n, err := s.look()
	switch {
	case n > 0:
		return false, true
	case err == io.EOF:
		return true, true
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		s.client.endIO(err)
	}
	s.client.end(ByServer, Drain, nil)
	return false, false
}

// now returns the time since the client came, in nanoseconds: never zero, and
// without jumps when the wall clock is set.
func (s *stream) now() int64 { return int64(s.client.begin.elapsed()) + 1 }

func (s *stream) touch()              { s.activity.Store(s.now()) }
func (s *stream) last() int64         { return s.activity.Load() }
func (s *stream) writers() *wait.Wait { return &s.inflight }

// setReadDeadline sets the deadline at which checkTime has to look next, if
// none is in force that comes before it. It reports false when nothing is to be
// waited for any more.
func (s *stream) setReadDeadline() bool {
	if s.client.stopping() {
		return false // it may have a new owner already
	}
	due := s.client.nextDue()
	if due != 0 && (s.readDue == 0 || s.readDue > due) {
		s.readDue = due
		s.conn.SetReadDeadline(time.Now().Add(time.Duration(due - s.now())))
	}
	// wake sets its deadline after the client's state: either it is seen here,
	// or its deadline comes after the one above.
	return !s.client.stopping()
}

// checkTime ends the client if a time-out for reading is over.
func (s *stream) checkTime() bool {
	if s.client.stopping() || s.client.paused.Load() {
		return true // fill looks into that
	}
	return s.client.checkTime(false)
}

// read reads into the buffer, and waits for something to read. Where it can,
// it takes the buffer only when something is there.
func (s *stream) read() (n int, err error) {
	if s.raw.ok() {
		n, err = s.raw.read()
	} else {
		n, err = s.conn.Read(s.client.buffer().Space())
		s.client.in.Filled(n)
	}
	s.client.bytesIn += int64(n)
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
		n, err = s.conn.Read(s.client.buffer().Space())
		s.client.in.Filled(n)
	}
	s.client.bytesIn += int64(n)
	return n, err
}

// finish closes the connection as its end demands.
func (s *stream) finish(opened bool) {
	c := s.client
	defer c.owner().remove(c)
	s.mu.Lock()
	hijacked := s.hijacked
	s.mu.Unlock()
	if !hijacked {
		s.boundWrite()
		sent := c.closeOutput(s.client.bytesIn, s.client.framesIn)
		s.close(sent)
		s.inflight.Wait() // nothing holds them: the connection is closed
	}
	s.client.freeBuffer()
	c.freeOutput()
	if opened && s.client.frames.OnClose != nil {
		s.client.frames.OnClose(c)
	}
}

// close closes the connection as its end demands. sent tells whether all that was
// written is with the kernel; if not, no FIN may say that it was.
func (s *stream) close(sent bool) {
	if !sent {
		s.reset()
		return
	}
	switch s.client.parting() {
	case withRST:
		s.reset()
	case silent:
		s.part()
	case withDiscard:
		s.linger(lingerTime)
	default:
		s.conclude()
	}
}

// conclude closes the connection, once the client has acknowledged all if it is to be
// waited for.
func (s *stream) conclude() { s.client.conclude(s.conn) }

// part closes a connection on which the client is silent, so that it sees the
// FIN in any case: also when it begins to send at this very moment, and the close
// makes a RST of that. Is there something to read already, it is still sending,
// and the last reply is in danger.
func (s *stream) part() {
	if netconn.CloseWrite(s.conn) != nil {
		s.conclude()
		return
	}
	n, _ := s.look()
	s.client.countIn(int64(n), 0)
	if n > 0 || s.client.in != nil && s.client.in.Len() > 0 {
		s.linger(lingerDrain)
	} else {
		s.conclude()
	}
}

// The wire of the client.

func (s *stream) endBatch(bytes, frames int64) {
	s.boundWrite()
	s.client.endBatch(bytes, frames, true)
}

func (s *stream) addrs() (local, remote net.Addr) {
	return s.conn.LocalAddr(), s.conn.RemoteAddr()
}

func (s *stream) serverMode() CloseMode { return s.accepted.CloseMode() }

func (s *stream) tryWrite(parts [3][]byte) (int, error) {
	if !s.raw.ok() {
		return 0, errWouldBlock
	}
	return s.raw.tryWrite(parts)
}

// write writes all of p, in time. The time-out is for progress: it starts again
// with each byte taken.
func (s *stream) write(p []byte) (written int, err error) {
	defer s.clearWriteDeadline()
	progress := s.now()
	for {
		limit, late := s.client.writeLimit()
		s.setWriteDeadline(limit)
		n, err := s.conn.Write(p[written:])
		written += n
		if n > 0 {
			progress = s.now()
			s.activity.Store(progress)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
		s.writeDue = 0
		if stalled := s.now() - progress; !s.resumes || limit > 0 && stalled >= int64(limit) {
			return written, late
		}
	}
}

// setWriteDeadline lets the connection's Write return after a sixteenth of the
// limit, or a second, to see whether it got on; where it may not go on after that,
// only at the limit. A deadline that has most of its time still to run is left
// as it is.
func (s *stream) setWriteDeadline(limit time.Duration) {
	wait, slack := time.Second, time.Second/2
	switch {
	case !s.resumes && limit == 0:
		return
	case !s.resumes:
		wait, slack = limit, limit/16
	case limit > 0:
		wait = min(max(limit/16, time.Millisecond), time.Second)
		slack = wait / 2
	}
	if t := s.now(); s.writeDue < t+int64(wait-slack) {
		s.writeDue = t + int64(wait)
		s.conn.SetWriteDeadline(time.Now().Add(wait))
	}
}

// boundWrite bounds a Write that waits without a deadline, once the client has
// ended: where Write may not go on after a time-out, it does not look itself.
func (s *stream) boundWrite() {
	if !s.resumes && s.client.frames.WriteTimeout == 0 && s.client.frames.IdleTimeout == 0 && s.client.ended() {
		s.conn.SetWriteDeadline(time.Now().Add(flushTimeout))
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
	if s.hijacked {
		return
	}
	s.conn.SetReadDeadline(past)
	s.boundWrite()
	s.resume() // to look at the state
}

func (s *stream) resume() {
	select {
	case s.resumed <- struct{}{}:
	default:
	}
}

// awaitResume waits while the client is paused. It reports false when it has
// an end meanwhile.
func (s *stream) awaitResume() bool {
	for s.client.paused.Load() {
		if s.client.stopping() {
			s.client.end(ByServer, Drain, nil)
			return false
		}
		<-s.resumed
	}
	return true
}

func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hijacked {
		netconn.Reset(s.conn)
	}
}
