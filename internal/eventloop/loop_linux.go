package eventloop

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	stdatomic "sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"go.uber.org/atomic"
	"golang.org/x/sys/unix"
)

// batch is how many events a loop takes from the kernel in one call.
const batch = 128

// fairness is how many polls with events a loop makes before it lets other goroutines
// run.
const fairness = 64

// loop is an event loop: an epoll descriptor, and one goroutine at a time, its owner,
// which polls it and serves the sockets. When the watchdog takes the loop away from its
// owner, a new owner takes over the fields that are marked as the owner's.
type loop struct {
	engine *engine
	wheel  wheel

	epoll  int
	file   *os.File // of epoll: so the runtime's poller waits for it
	raw    syscall.RawConn
	onPoll func(fd uintptr) bool // made once
	wakeup *os.File              // an eventfd that ends the wait

	sockets stdatomic.Int64
	asleep  atomic.Bool // the owner waits, or is about to

	// epoch is odd while a socket's Ready runs. The owner makes it odd. Either the
	// owner or the watchdog makes it even again: the owner goes on then, the watchdog
	// starts a new owner.
	epoch stdatomic.Uint64

	// group is that of the socket whose Ready runs, or ran last.
	group stdatomic.Pointer[Group]

	mu     sync.Mutex
	posted []*Socket // to be served, from other goroutines
	npost  atomic.Int32

	// The owner's.
	serving *Socket // whose Ready runs
	ready   [batch]unix.EpollEvent
	n, next int  // ready[next:n] are still to be handled
	busy    int  // polls that found events
	looks   int  // polls in one wait
	idles   bool // the last poll found nothing, so wait polls first
	naps    naps
	queue   []*Socket // to be served now, from queued on
	queued  int
	again   []*Socket // to be served after the next poll

	// The watchdog's.
	seen uint64 // the epoch at its last look
	held int    // how many looks in a row have found this epoch

	inside int // looks of this window that found a function running
}

func newLoop(e *engine) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventloop: epoll_create1: %w", err)
	}
	// A write never blocks: the counter does not get that far. As a file it can be
	// closed while another goroutine writes to it.
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventloop: eventfd: %w", err)
	}
	l := &loop{engine: e, epoll: epoll, wakeup: os.NewFile(uintptr(wakeup), "eventfd")}
	// Each ring is an edge, so the eventfd need not be read.
	on := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(wakeup)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wakeup, &on); err != nil {
		unix.Close(epoll)
		l.wakeup.Close()
		return nil, fmt.Errorf("eventloop: epoll_ctl: %w", err)
	}
	// The runtime's poller takes only descriptors that do not block.
	unix.SetNonblock(epoll, true)
	l.file = os.NewFile(uintptr(epoll), "epoll")
	err = l.file.SetReadDeadline(time.Time{}) // fails if it is none
	if err == nil {
		l.raw, err = l.file.SyscallConn()
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("eventloop: %w", err)
	}
	l.onPoll = l.pollOrWait
	return l, nil
}

func (l *loop) close() {
	l.file.Close()
	l.wakeup.Close()
}

func (l *loop) control(op int, s *Socket, mask uint32) error {
	fd := s.FD()
	e := unix.EpollEvent{Events: mask, Fd: int32(fd)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return nil
}

var one = [8]byte{1} // not zero, in either byte order

// ring ends the wait of the owner.
func (l *loop) ring() {
	l.wakeup.Write(one[:])
}

// post queues a socket that the caller has claimed, from any goroutine.
func (l *loop) post(s *Socket) {
	l.mu.Lock()
	l.posted = append(l.posted, s)
	l.npost.Store(int32(len(l.posted)))
	l.mu.Unlock()
	// The owner sets asleep before it looks for posts a last time.
	if l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		l.ring()
	}
}

func (l *loop) takePosts() {
	if l.npost.Load() == 0 {
		return
	}
	l.mu.Lock()
	l.again = append(l.again, l.posted...)
	clear(l.posted)
	l.posted = l.posted[:0]
	l.npost.Store(0)
	l.mu.Unlock()
}

// run is the owner, until the loop ends or is taken away.
func (l *loop) run(w *Worker) {
	e := l.engine
	defer e.goroutines.Done()
	var (
		s     *Socket
		epoch uint64
		left  bool
	)
	defer func() {
		if !left { // runtime.Goexit in a Ready
			l.replace(epoch, s)
		}
	}()
	w.now = e.now()
	for {
		for {
			var ev Event
			var ok bool
			if s, ev, ok = l.pick(); !ok {
				break
			}
			g := s.seat.group
			if g.learnt.blocking.Load() {
				e.spawn(s, ev)
				continue
			}
			if l.group.Load() != g { // a store costs more than a load
				l.group.Store(g)
			}
			l.serving = s
			epoch = l.epoch.Load() + 1
			l.epoch.Store(epoch)
			more := s.handler.Ready(w, ev)
			if !l.epoch.CompareAndSwap(epoch, epoch+1) {
				left = true
				w.workOn(s, more) // the loop has another owner
				return
			}
			l.served(s, more)
		}
		if !l.fetch() {
			left = true
			e.loopEnded()
			return
		}
		w.now = e.now()
	}
}

// served gives up a socket whose Ready has returned, or queues it again.
func (l *loop) served(s *Socket, more bool) {
	if !s.gone() && (more || !s.release()) {
		l.again = append(l.again, s)
	}
}

// replace goes on in the place of a goroutine that runtime.Goexit has ended in the Ready
// of s.
func (l *loop) replace(epoch uint64, s *Socket) {
	e := l.engine
	if l.epoch.CompareAndSwap(epoch, epoch+1) {
		l.served(s, true)
		e.goroutines.Add(1)
		go l.run(newOwner())
		return
	}
	e.spawn(s, 0)
}

// pick claims the next socket to be served, and returns it with its events.
func (l *loop) pick() (*Socket, Event, bool) {
	for l.next < l.n {
		e := &l.ready[l.next]
		l.next++
		s := l.engine.table.get(int(e.Fd))
		if s == nil || s.seat.loop != l {
			continue // the eventfd, or a socket that has left
		}
		if e.Events&unix.EPOLLOUT != 0 {
			s.handler.Writable()
		}
		ev := eventOf(e.Events)
		if ev == 0 {
			continue
		}
		switch s.claim(ev, 0) {
		case claimed:
			return s, ev, true
		case kept:
			s.worker.wake <- true
		case noted:
			s.tellBreak(e.Events)
		}
	}
	if l.queued < len(l.queue) {
		s := l.queue[l.queued]
		l.queue[l.queued] = nil
		l.queued++
		return s, s.take(), true
	}
	return nil, 0, false
}

// fetch gets new events, and waits for them if there is nothing to do. It reports false
// when the loop has ended.
func (l *loop) fetch() bool {
	for {
		l.next = 0
		if l.idles && len(l.again) == 0 {
			l.wait()
		} else {
			l.n = l.poll()
			l.idles = l.n == 0
		}
		l.takePosts()
		l.queue, l.again = l.again, l.queue[:0]
		l.queued = 0
		switch {
		case l.n > 0 || len(l.queue) > 0:
			if l.busy++; l.busy%fairness == 0 {
				runtime.Gosched() // or other goroutines wait until the scheduler interrupts us
			}
			return true
		case l.engine.closing.Load() && l.sockets.Load() == 0:
			return false
		}
	}
}

// wait waits for events or posts, in a nap or in the runtime's poller.
func (l *loop) wait() {
	l.asleep.Store(true)
	l.n = 0
	l.serving = nil // its handler may be garbage before the next event
	began, napped := l.engine.now(), false
	if l.naps.may() && napping(l.engine.processors) {
		napped = true
		l.n = l.nap()
	}
	if l.n > 0 || napped && l.woken() {
		l.idles = true
	} else {
		l.park()
	}
	l.asleep.Store(false)
	l.naps.waited(l.engine.now()-began, napped)
	l.engine.watchdog.stir()
}

// park waits in the runtime's poller, so that it holds no processor. The events are not
// handled in the callback: it holds a lock of the file, and another owner could not wait
// meanwhile.
func (l *loop) park() {
	l.looks = 0
	l.raw.Read(l.onPoll)
	l.idles = l.looks > 1
}

// pollOrWait is called by the file's Read before it waits, and after each event of the
// epoll descriptor. It reports whether the wait is over.
func (l *loop) pollOrWait(uintptr) bool {
	l.looks++
	l.n = l.poll()
	return l.n > 0 || l.woken()
}

// woken reports whether there is something to do that is no event.
func (l *loop) woken() bool {
	return l.npost.Load() > 0 || !l.asleep.Load() || l.engine.closing.Load() && l.sockets.Load() == 0
}

// poll takes events without waiting. The system call bypasses the scheduler, which need
// not know of a call that does not block.
func (l *loop) poll() int {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.ready)), batch, 0, 0, 0)
		if errno != unix.EINTR {
			if errno != 0 {
				return 0
			}
			return int(n)
		}
	}
}
