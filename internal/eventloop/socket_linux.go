package eventloop

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// The states of a socket, beside the events that wait for the serving goroutine.
const (
	free    = 0
	running = 1 << iota >> 1 // a goroutine serves it, or it is queued for that
	waiting                  // a worker keeps it, and waits for the next event
	removed                  // Remove or Close was called: this is final
)

// Flags of a socket, in the same word as its file descriptor: an idle socket is to be
// small. The table has no room for descriptors that high.
const (
	pieces   = 1 << 30 // a read can return less than there is; see Socket.Read
	watched  = 1 << 29 // WatchOut was called
	numberOf = watched - 1
)

var _ Conn = (*Socket)(nil)

// Socket is a file descriptor on a loop. It is part of what is served: embed it,
// and hand it to Group.Add.
type Socket struct {
	// Both of the standard library: those of go.uber.org/atomic take twice the room.
	fd    atomic.Int32 // and flags
	state atomic.Uint32

	seat    *seat
	handler Handler
	worker  *Worker // the one that waits, in state waiting

	// Under the wheel's mu.
	next, prev *Socket
	due        int64
}

// Now is Group.Now of the socket's group.
func (s *Socket) Now() int64 { return s.seat.loop.engine.now() }

// FD returns the file descriptor.
func (s *Socket) FD() int { return int(s.fd.Load() & numberOf) }

// Start implements Conn.
func (s *Socket) Start() {
	if !s.release() {
		s.seat.loop.post(s)
	}
}

// Wake implements Conn.
func (s *Socket) Wake() {
	switch s.claim(Woken, Woken) {
	case claimed:
		s.seat.loop.post(s)
	case kept:
		s.worker.wake <- true
	}
}

// claim is the outcome of Socket.claim.
type claim int

const (
	claimed claim = iota // the caller is the serving goroutine now
	noted                // the serving goroutine will see the event
	kept                 // the caller has to wake the worker that keeps the socket
)

// claim makes the caller the serving goroutine of s if there is none. Otherwise it leaves
// ev to the serving goroutine. own is what it leaves in the state for the caller itself.
func (s *Socket) claim(ev, own Event) claim {
	for {
		old := s.state.Load()
		switch {
		case old == free:
			if s.state.CompareAndSwap(free, running|uint32(own)) {
				return claimed
			}
		case old&waiting != 0:
			if s.state.CompareAndSwap(old, running|uint32(ev)) {
				return kept
			}
		default:
			if s.state.CompareAndSwap(old, old|uint32(ev)) {
				return noted
			}
		}
	}
}

// take returns the events that have come since. The caller stays the serving goroutine.
func (s *Socket) take() Event { return Event(s.state.Swap(running) &^ running) }

// gone reports whether Remove or Close was called. It is for the serving goroutine.
func (s *Socket) gone() bool { return s.state.Load()&removed != 0 }

// release gives up serving s, if no event has come since.
func (s *Socket) release() bool { return s.state.CompareAndSwap(running, free) }

// keep is release for a worker that waits for the next event.
func (s *Socket) keep(w *Worker) bool {
	s.worker = w
	return s.state.CompareAndSwap(running, waiting)
}

// events are the epoll events that a socket is watched for.
const events = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// eventOf translates what epoll reports.
func eventOf(e uint32) (ev Event) {
	if e&unix.EPOLLIN != 0 {
		ev |= In
	}
	// A read stops at urgent data, too, with more behind it (tcp(7)).
	if e&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		ev |= Hup
	}
	return ev
}

// tellBreak tells the handler that the connection is broken, if it wants to know while
// Ready runs. events is what epoll reports.
func (s *Socket) tellBreak(events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		return
	}
	if h, ok := s.handler.(BreakHandler); ok {
		h.Broken()
	}
}

// WatchOut implements Conn. The socket is watched for output from the first call on.
func (s *Socket) WatchOut(bool) error {
	if s.fd.Load()&watched != 0 {
		return nil
	}
	err := s.seat.loop.control(unix.EPOLL_CTL_MOD, s, events|unix.EPOLLOUT)
	if err == nil {
		s.fd.Or(watched)
	}
	return err
}

// Remove implements Conn. The file descriptor stays open, and is the caller's. Nothing
// was read ahead.
func (s *Socket) Remove() (rest []byte) {
	if !s.gone() {
		s.seat.loop.control(unix.EPOLL_CTL_DEL, s, 0) // fails only if it was closed or reset
		s.leave()
	}
	return nil
}

// Close implements Conn. It must not wait, so SO_LINGER must not have a time. The kernel
// takes a closed descriptor off its list by itself (epoll(7)).
func (s *Socket) Close() {
	if !s.gone() {
		s.leave()
		rawfd.Close(s.FD())
	}
}

func (s *Socket) leave() {
	s.state.Store(running | removed) // no event is delivered any more
	s.seat.loop.wheel.remove(s)
	s.seat.loop.engine.table.set(s.FD(), nil)
	s.seat.leave()
}
