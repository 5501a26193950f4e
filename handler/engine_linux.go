package handler

import (
	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/lib/frame"
)

// engine has the event loops of a frame handler. They start with the first
// socket.
type engine struct{ eventloop.Lazy }

// acceptSocket serves a, and reports whether it does: not if a has no bare socket. An event
// loop serves it, or a goroutine if there is no loop.
func (h *Frames) acceptSocket(a Accepted) bool {
	fd, ok := a.Socket()
	if !ok {
		return false
	}
	s, err := h.addSocket(a, fd)
	if err != nil {
		h.acceptConn(a) // it has a descriptor of its own
		netconn.RawClose(fd)
		return true
	}
	if h.OnOpen != nil {
		s.Wake() // it is the first to act
	} else {
		s.client.opened.Store(true)
	}
	if !h.clients.addClient(&s.client) {
		s.close(false)
		a.Done()
		return true
	}
	s.arm(s.nextDue())
	s.Start()
	return true
}

// addSocket puts fd on a loop.
func (h *Frames) addSocket(a Accepted, fd int) (*socket, error) {
	g := h.engine.Group()
	if g == nil {
		return nil, eventloop.ErrClosed
	}
	s := newSocket(a, g, h)
	return s, g.Add(&s.Socket, fd, s)
}

const (
	// loopBuffer is the size of the buffer that a loop reads into: so much is
	// read at once. A client that does not take its replies keeps one, with the
	// frames that are still to be served.
	loopBuffer = 32 << 10

	// maxLoopBuffer is how large it may become for long frames.
	maxLoopBuffer = 4 << 20

	// maxRest is how much of a frame that has begun is kept in a buffer of just
	// its size, so that the loop's own is free for others.
	maxRest = 4 << 10
)

// takeBuffer gives s a buffer to read into, the worker's own if it has one. What
// was left of the last read is in it.
func (s *socket) takeBuffer(w *eventloop.Worker) {
	if s.client.in != nil && s.client.in.Cap() > maxRest {
		return
	}
	rest := s.client.in
	if in, ok := w.Local.(*frame.Buffer); ok && in != nil {
		w.Local = (*frame.Buffer)(nil)
		s.client.in = in
	} else if w.InLoop() {
		s.client.in = frame.NewBuffer(loopBuffer)
	} else {
		s.client.in = buffers.Get().(*frame.Buffer)
	}
	if rest != nil {
		rest.MoveTo(s.client.in)
	}
}

// leaveBuffer gives the buffer back, but for what is left in it. A loop keeps it,
// also a large one: the next frames may be as long.
func (s *socket) leaveBuffer(w *eventloop.Worker) {
	in := s.client.in
	switch {
	case in == nil:
		return
	case !s.client.holds():
		s.client.in = nil
	case in.Cap() <= maxRest || fits(in.Cap(), in.Len()):
		return
	default:
		size := in.Len()
		if size > maxRest {
			size *= 2 // it is read into
		}
		s.client.in = frame.NewBuffer(size)
		in.MoveTo(s.client.in)
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

// keeps reports whether w should keep a buffer of that size for its next turn.
func keeps(w *eventloop.Worker, size int) bool {
	if w.InLoop() {
		return size >= loopBuffer && size <= maxLoopBuffer
	}
	return size <= maxPooled
}

// dropBuffer gives the buffer back with all that is in it.
func (s *socket) dropBuffer(w *eventloop.Worker) {
	if s.client.in != nil {
		s.client.in.Reset()
		s.leaveBuffer(w)
		s.client.in = nil
	}
}
