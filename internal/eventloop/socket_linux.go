package eventloop

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The states of a socket, beside the events that wait for who serves it.
const (
	free    = 0
	running = 1 << iota >> 1 // somebody serves it, or it is queued for that
	waiting                  // a goroutine keeps it, and waits for the next event
	removed                  // Remove was called: it stays as it is
)

// Socket is a file descriptor on a loop. It is part of what is served: embed it,
// and hand it to Group.Add. Its methods may be called from any goroutine, where
// they do not say otherwise.
type Socket struct {
	fd      int32
	state   atomic.Uint32 // of the standard library: go.uber.org/atomic's takes twice the room
	loop    *loop
	handler Handler
	worker  *Worker // who waits, in state waiting

	// Under the wheel's mu.
	next, prev *Socket
	due        int64
}

// Now is Group.Now of the socket's group.
func (s *Socket) Now() int64 { return s.loop.group.Now() }

// FD returns the file descriptor.
func (s *Socket) FD() int { return int(s.fd) }

// Start lets go of a socket after Group.Add: Ready may be called from now on.
func (s *Socket) Start() {
	if !s.release() {
		s.loop.post(s)
	}
}

// Wake has Ready called with Woken, soon.
func (s *Socket) Wake() {
	switch s.claim(Woken, Woken) {
	case claimed:
		s.loop.post(s)
	case kept:
		s.worker.wake <- true
	}
}

// claim is the outcome of Socket.claim.
type claim int

const (
	claimed claim = iota // the caller is to serve it
	noted                // who serves it will see the event
	kept                 // the caller is to wake the worker that keeps it
)

// claim makes the caller the one who serves s, if nobody is. Otherwise ev is left
// to who does. own is what is left in the state for the caller itself.
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

// take returns the events that have come since, and stays the one who serves.
func (s *Socket) take() Event { return Event(s.state.Swap(running) &^ running) }

// gone reports whether Remove was called; for who serves s.
func (s *Socket) gone() bool { return s.state.Load()&removed != 0 }

// release gives s up, if no event has come since.
func (s *Socket) release() bool { return s.state.CompareAndSwap(running, free) }

// keep is release for a goroutine that waits for the next event.
func (s *Socket) keep(w *Worker) bool {
	s.worker = w
	return s.state.CompareAndSwap(running, waiting)
}

// events are those that a socket is watched for.
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

// WatchOut has Writable called as soon as the socket takes something to send,
// and each time that happens after it took nothing. The file descriptor must be
// open.
func (s *Socket) WatchOut() error {
	return s.loop.control(unix.EPOLL_CTL_MOD, s, events|unix.EPOLLOUT)
}

// Remove takes the socket off its loop; the file descriptor stays open, and is
// the caller's. Only who serves the socket may call it. After that SetTimer and
// WatchOut must not be called, and Wake does nothing.
func (s *Socket) Remove() {
	if !s.gone() {
		s.loop.control(unix.EPOLL_CTL_DEL, s, 0) // fails only if it was closed
		s.leave()
	}
}

// Close is Remove, and closes the file descriptor: the kernel takes it off its
// list by itself then (epoll(7)).
func (s *Socket) Close() {
	if !s.gone() {
		s.leave()
		unix.RawSyscall(unix.SYS_CLOSE, uintptr(s.fd), 0, 0) // that does not block
	}
}

func (s *Socket) leave() {
	s.state.Store(running | removed) // of interest to nobody any more
	s.loop.wheel.remove(s)
	s.loop.group.table.set(int(s.fd), nil)
	s.loop.leave()
}
