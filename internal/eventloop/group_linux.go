package eventloop

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.uber.org/atomic"
	"golang.org/x/sys/unix"

	"wireline/lib/sync/wait"
)

// Group is a set of event loops with a goroutine each. They share a watchdog, and what
// it has learnt about their handlers. New makes one; Stop ends it. All methods are safe
// for concurrent use.
type Group struct {
	base     time.Time // Now counts from here
	loops    []*loop
	turn     atomic.Uint32 // which loop gets the next socket
	table    table
	watchdog *watchdog

	processors int // that the runtime uses

	workers    workers
	goroutines wait.Wait
	closing    atomic.Bool
	running    atomic.Int32 // loops that have not ended
}

// New starts a group of n loops; one for each processor if n is not positive.
func New(n int) (*Group, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	g := &Group{base: time.Now(), processors: runtime.GOMAXPROCS(0)}
	var err error
	if g.watchdog, err = newWatchdog(g); err != nil {
		return nil, err
	}
	for range n {
		l, err := newLoop(g)
		if err != nil {
			g.release()
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	g.running.Store(int32(n))
	g.goroutines.Add(n + 1)
	g.watchdog.stir() // the loops are awake
	go g.watchdog.run()
	for _, l := range g.loops {
		go l.run(newOwner())
	}
	return g, nil
}

func newOwner() *Worker { return &Worker{inLoop: true} }

// Add puts the non-blocking socket fd on a loop, with h to serve it. The caller counts as
// the serving goroutine until s.Start. s and fd must stay as they are until s.Remove.
func (g *Group) Add(s *Socket, fd int, h Handler, where Placement) error {
	var l *loop
	if where.Beside != nil {
		l = where.Beside.loop
	} else {
		l = g.choose()
	}
	var kind int32
	if !where.TCP {
		kind = kindOf(fd)
	}
	l.sockets.Add(1) // before closing is looked at; see fetch
	if g.closing.Load() {
		l.leave()
		return ErrClosed
	}
	s.fd.Store(int32(fd) | kind)
	s.handler, s.loop = h, l
	s.state.Store(running)
	if !g.table.set(fd, s) {
		l.leave()
		return fmt.Errorf("eventloop: file descriptor %d is too high", fd)
	}
	if err := l.control(unix.EPOLL_CTL_ADD, s, events); err != nil {
		g.table.set(fd, nil)
		l.leave()
		return fmt.Errorf("eventloop: %w", err)
	}
	return nil
}

// choose picks the emptier of two loops.
func (g *Group) choose() *loop {
	n := len(g.loops)
	i := int(g.turn.Inc() % uint32(n))
	a, b := g.loops[i], g.loops[(i+n/2)%n]
	if b.sockets.Load() < a.sockets.Load() {
		return b
	}
	return a
}

// Now returns the clock of the timers: nanoseconds since the group was made. It does not
// jump.
func (g *Group) Now() int64 { return int64(time.Since(g.base)) }

// SetTimer implements Conn, by the clock of Group.Now.
func (s *Socket) SetTimer(due int64) {
	s.loop.wheel.set(s, due)
	s.loop.group.watchdog.stir()
}

// Stop makes Add fail from now on. The group ends when its last socket is removed.
func (g *Group) Stop() {
	if g.closing.CompareAndSwap(false, true) {
		for _, l := range g.loops {
			l.ring()
		}
	}
}

// Wait waits until the group has ended after Stop, for d at most. It reports whether it
// gave up.
func (g *Group) Wait(d time.Duration) (timedOut bool) { return g.goroutines.WaitWithTimeout(d) }

// loopEnded releases what the group holds when the last loop has ended.
func (g *Group) loopEnded() {
	if g.running.Dec() == 0 {
		g.release()
	}
}

func (g *Group) release() {
	for _, l := range g.loops {
		l.close()
	}
	g.watchdog.timer.Close()
}

// workers is the set of workers that keep a socket.
type workers struct {
	n   atomic.Int32
	mu  sync.Mutex
	all map[*Worker]struct{}
}

func (ws *workers) len() int { return int(ws.n.Load()) }

func (ws *workers) add(w *Worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = make(map[*Worker]struct{})
	}
	ws.all[w] = struct{}{}
	ws.n.Store(int32(len(ws.all)))
}

func (ws *workers) remove(w *Worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.socket = nil
	delete(ws.all, w)
	ws.n.Store(int32(len(ws.all)))
	if len(ws.all) == 0 {
		ws.all = nil // a map does not shrink
	}
}

func (ws *workers) sweep() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		w.dismiss()
	}
}
