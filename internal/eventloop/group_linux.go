package eventloop

import (
	"fmt"
	"slices"
	stdatomic "sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"wireline/lib/sync/wait"
)

// Group is what one handler has of the event loops: its sockets, and what was learnt about its
// functions. Groups of Join share the loops of the process. Stop ends it. All methods are safe
// for concurrent use.
type Group struct {
	engine  *engine
	seats   []seat          // one for each loop
	sockets stdatomic.Int64 // that have not left, and one more until Stop
	closing stdatomic.Bool
	ended   stdatomic.Bool
	end     wait.Wait // one until the group has ended

	learnt learnt
}

// seat is the place of a group's sockets on a loop.
type seat struct {
	loop  *loop
	group *Group
}

// New returns the only group of n loops of its own; one loop for each processor if n is not
// positive.
func New(n int) (*Group, error) {
	e, err := newEngine(n)
	if err != nil {
		return nil, err
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return e.join(), nil
}

// Join returns a new group on the loops of the process. There is a loop for each processor while
// there are groups.
func Join() (*Group, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.engine == nil {
		e, err := newEngine(0)
		if err != nil {
			return nil, err
		}
		shared.engine = e
	}
	return shared.engine.join(), nil
}

// Add puts the non-blocking socket fd on a loop, with h to serve it. The caller counts as
// the serving goroutine until s.Start. s and fd must stay as they are until s.Remove.
func (g *Group) Add(s *Socket, fd int, h Handler, where Placement) error {
	g.sockets.Add(1) // before closing is looked at
	if g.closing.Load() {
		g.leave()
		return ErrClosed
	}
	at := g.place(where)
	l := at.loop
	var kind int32
	if !where.TCP {
		kind = kindOf(fd)
	}
	l.sockets.Add(1)
	s.fd.Store(int32(fd) | kind)
	s.handler, s.seat = h, at
	s.state.Store(running)
	if !g.engine.table.set(fd, s) {
		at.leave()
		return fmt.Errorf("eventloop: file descriptor %d is too high", fd)
	}
	if err := l.control(unix.EPOLL_CTL_ADD, s, events); err != nil {
		g.engine.table.set(fd, nil)
		at.leave()
		return fmt.Errorf("eventloop: %w", err)
	}
	return nil
}

// place returns the seat for a new socket.
func (g *Group) place(where Placement) *seat {
	if where.Beside != nil && where.Beside.seat.loop.engine == g.engine {
		i := slices.Index(g.engine.loops, where.Beside.seat.loop)
		return &g.seats[i]
	}
	return &g.seats[g.engine.choose()]
}

// Now returns the clock of the timers: nanoseconds since the loops were made. It does not
// jump.
func (g *Group) Now() int64 { return g.engine.now() }

// SetTimer implements Conn, by the clock of Group.Now.
func (s *Socket) SetTimer(due int64) {
	l := s.seat.loop
	l.wheel.set(s, due)
	l.engine.watchdog.stir()
}

// Stop makes Add fail from now on. The group ends when its last socket is removed, and the loops
// end with their last group.
func (g *Group) Stop() {
	if g.closing.CompareAndSwap(false, true) {
		g.leave()
	}
}

// leave notes that a socket of the group has left, or that Stop was called.
func (g *Group) leave() {
	if g.sockets.Add(-1) == 0 && g.ended.CompareAndSwap(false, true) {
		g.engine.leave(g)
		g.end.Done()
	}
}

// leave notes that a socket has left.
func (at *seat) leave() {
	at.loop.sockets.Add(-1)
	at.group.leave()
}

// Wait waits until the group has ended after Stop, for d at most, and the loops if it was their
// last group. It reports whether it gave up.
func (g *Group) Wait(d time.Duration) (timedOut bool) {
	began := time.Now()
	if g.end.WaitWithTimeout(d) {
		return true
	}
	if !g.engine.closing.Load() {
		return false
	}
	return g.engine.goroutines.WaitWithTimeout(d - time.Since(began))
}
