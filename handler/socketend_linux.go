package handler

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
)

// finish brings a client that has its end to it: what was written is sent, then
// the connection is closed as the end demands. It reports whether it is to be
// called again when others had their turn; otherwise an event does that.
func (s *socket) finish(w *eventloop.Worker) (more bool) {
	c := &s.client
	if s.phase == acknowledging {
		s.awaitAck(w)
		return false
	}
	if s.phase < flushing {
		s.phase = flushing
		c.shutOutput()
		c.endBatch(s.client.bytesIn, s.client.framesIn, false) // one may be open, after a panic
		s.client.bytesIn, s.client.framesIn = 0, 0
	}
	if s.phase == flushing {
		switch {
		case s.isHijacked():
			s.leave(w)
		case !c.awaitOutput():
			s.checkStall() // there is a bound now in any case
		default:
			s.part(w)
		}
	}
	return s.phase == lingering && s.linger(w)
}

func (s *socket) isHijacked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hijacked
}

// part closes the connection as its end demands, or begins to linger. A FIN says
// that all that was written was sent; so where it was not, there is none.
func (s *socket) part(w *eventloop.Worker) {
	limit := lingerTime
	switch how := s.client.parting(); {
	case s.client.failed(), how == withRST:
		s.close(true)
	case how == withFIN, unix.Shutdown(s.FD(), unix.SHUT_WR) != nil:
		s.conclude(w)
		return
	case how == silent:
		// The client is silent. It sees the FIN in any case now, also when it
		// begins to send at this very moment and the close makes a RST of that.
		// Is there something to read already, it is still sending, and the last
		// reply is in danger.
		limit = lingerDrain
		sending := s.client.holds()
		if n, _ := s.discard(w); n == 0 && !sending {
			s.conclude(w)
			return
		}
	}
	if s.isClosed() {
		s.leave(w)
		return
	}
	s.phase = lingering
	s.extra().end = s.now() + int64(limit)
}

// conclude closes the socket, or begins to wait for the client's acknowledgement if that
// is how it is to be closed.
func (s *socket) conclude(w *eventloop.Worker) {
	s.dropBuffer(w)
	mode, _ := s.client.closeMode()
	if mode > 0 && unix.Shutdown(s.FD(), unix.SHUT_WR) == nil {
		m := s.extra()
		m.end, m.pause, m.discarded = s.now()+int64(mode.bound()), int64(ackFirst), 0
		s.phase = acknowledging
		s.awaitAck(w)
		return
	}
	s.close(false)
	s.leave(w)
}

const (
	// ackFirst and ackLast are between which times the kernel is asked whether the
	// client has acknowledged all, less and less often. It tells nobody but who is
	// in close(2), and that would hold up the loop.
	ackFirst = 10 * time.Millisecond
	ackLast  = 200 * time.Millisecond
)

// awaitAck closes the socket when the client has acknowledged all, or the time for that
// is over; see netconn.CloseWithin. It is also called when there is input.
func (s *socket) awaitAck(w *eventloop.Worker) {
	m, now := s.extra(), s.now()
	if s.acknowledged() || now >= m.end {
		s.close(false)
		s.leave(w)
		return
	}
	due := min(m.end, now+m.pause)
	if at := s.armed.Load(); at == 0 || at > due {
		s.arm(due)
		m.pause = min(2*m.pause, int64(ackLast))
	}
}

// acknowledged discards what has come, and reports whether the client has acknowledged
// all.
func (s *socket) acknowledged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.hijacked || s.dead {
		return true
	}
	m := s.extra()
	m.discarded += netconn.RawDiscard(uintptr(s.FD()), lingerBytes-m.discarded)
	return netconn.Acknowledged(s.FD())
}

func (s *socket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// linger reads and discards until the client's FIN, so that our last words
// arrive; see netconn.Linger. A drain shortens it, and one who sends for ever does
// not keep the processor busy.
func (s *socket) linger(w *eventloop.Worker) (more bool) {
	f := s.extra()
	now := s.now()
	if s.client.draining.Load() {
		f.end = min(f.end, now+int64(lingerDrain))
	}
	for reads := 0; now >= f.next; reads++ {
		n, err := s.discard(w)
		f.discarded += n
		switch {
		case err == unix.EAGAIN && now < f.end:
			s.dropBuffer(w)
			s.arm(f.end)
			return false
		case err != nil || n == 0 || now >= f.end:
			s.conclude(w)
			return false
		case f.discarded > lingerBytes:
			f.next = now + int64(lingerPause)
		case reads == readsPerTurn:
			return true
		}
	}
	s.dropBuffer(w)
	s.arm(f.next)
	return false
}

// discard reads once and throws that away.
func (s *socket) discard(w *eventloop.Worker) (int, error) {
	s.takeBuffer(w)
	s.client.in.Reset()
	n, errno := netconn.RawRead(uintptr(s.FD()), s.client.in.Space())
	s.client.countIn(int64(n), 0)
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// leave is the end of a connection that is closed or has a new owner.
func (s *socket) leave(w *eventloop.Worker) {
	c := &s.client
	s.phase = ended
	s.dropBuffer(w)
	c.mu.Lock()
	if c.fail == nil {
		c.fail = ErrClosed
	}
	c.mu.Unlock()
	c.freeOutput()
	if !s.isHijacked() {
		defer s.accepted.Done()
	}
	defer c.owner().remove(c)
	if s.opened && c.frames.OnClose != nil {
		c.frames.OnClose(c)
	}
}

// hijack implements hijacker: the connection becomes one of package net.
func (s *socket) hijack() (net.Conn, []byte, error) {
	conn, err := s.accepted.Conn()
	if err != nil {
		return nil, nil, err
	}
	if err := s.client.handOver(&s.mu, &s.hijacked); err != nil {
		conn.Close()
		return nil, nil, err
	}
	s.Remove()
	netconn.RawClose(s.FD())
	s.accepted.Done()
	return conn, s.client.unserved(), nil
}
