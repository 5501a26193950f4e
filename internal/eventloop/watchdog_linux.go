package eventloop

import (
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/atomic"
	"golang.org/x/sys/unix"
)

const (
	// tick is how often the watchdog looks while there is something to do.
	tick = 2 * time.Millisecond

	// takeoverLooks is how many looks in a row must find the same function in a loop
	// before the loop is taken away from it. One look is not enough: a function that
	// the system did not run for a moment looks the same as one that waits.
	takeoverLooks = 2

	// When takeoverLimit loops were taken away within takeoverWindow, or when functions
	// often wait for less than that (see waits), functions get goroutines of their own.
	takeoverLimit  = 8
	takeoverWindow = time.Second

	// slowTurn is from how long on a call of Ready in such a goroutine counts as slow:
	// it would have cost a loop.
	slowTurn = takeoverLooks * tick

	// Functions come back to the loops when fewer than takeoverLimit were slow, and
	// they waited little, for minQuiet. If that was wrong, the next time takes twice as
	// long, up to maxQuiet.
	minQuiet = time.Second
	maxQuiet = time.Minute

	// sweepTicks is the number of ticks after which workers without an event are
	// dismissed.
	sweepTicks = 100
)

// watchdog watches the loops of an engine: it takes a loop away from a function that
// blocks, and it drives the timers. Its own timer is a timerfd. With a timer of the
// runtime that expires soon, each wait in the runtime's poller would set the hardware's
// timer.
type watchdog struct {
	engine *engine
	timer  *os.File
	raw    syscall.RawConn // of timer

	mu      sync.Mutex // orders start and rest
	ticking atomic.Bool

	waits  waits
	window int64 // when the window of waits began, for which groups are measured too

	ticks int
	due   []*Socket
}

func newWatchdog(e *engine) (*watchdog, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventloop: timerfd_create: %w", err)
	}
	k := &watchdog{engine: e, timer: os.NewFile(uintptr(fd), "timerfd")}
	k.raw, err = k.timer.SyscallConn()
	return k, err
}

// run is the watchdog's goroutine. It ends when the timer is closed.
func (k *watchdog) run() {
	defer k.engine.goroutines.Done()
	var expirations [8]byte
	for {
		if _, err := k.timer.Read(expirations[:]); err != nil {
			return
		}
		if !k.look() {
			k.rest()
		}
	}
}

// stir starts the ticks if the watchdog is at rest.
func (k *watchdog) stir() {
	if !k.ticking.Load() {
		k.start()
	}
}

func (k *watchdog) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ticking.CompareAndSwap(false, true) {
		k.set(tick, tick)
	}
}

// rest stops the ticks until a loop wakes, or the first timer ends.
func (k *watchdog) rest() {
	k.mu.Lock()
	defer k.mu.Unlock()
	ticked := k.ticking.Swap(false) // not if we were at rest, and a timer has ended
	next := int64(math.MaxInt64)
	for _, l := range k.engine.loops {
		// A loop says that it is awake before it asks whether we tick.
		if !l.asleep.Load() {
			k.ticking.Store(true)
			if !ticked {
				k.set(tick, tick)
			}
			return
		}
		next = min(next, l.wheel.next())
	}
	if next == math.MaxInt64 {
		k.set(0, 0)
	} else {
		k.set(max(time.Duration(next-k.engine.now()), 1), 0)
	}
}

// set sets the timer: zero stops it.
func (k *watchdog) set(first, interval time.Duration) {
	spec := unix.ItimerSpec{
		Value:    unix.NsecToTimespec(int64(first)),
		Interval: unix.NsecToTimespec(int64(interval)),
	}
	k.raw.Control(func(fd uintptr) { unix.TimerfdSettime(int(fd), 0, &spec, nil) })
}

// look is one tick. It reports whether a loop or a worker is active.
func (k *watchdog) look() (busy bool) {
	now := k.engine.now()
	for _, l := range k.engine.loops {
		busy = k.watch(l, now) || !l.asleep.Load() || busy
		k.due = l.wheel.expire(now, k.due[:0])
		for i, s := range k.due {
			s.handler.Expired()
			k.due[i] = nil
		}
	}
	k.learn(now)
	if k.ticks++; k.ticks%sweepTicks == 0 {
		k.engine.workers.sweep()
	}
	return busy || k.engine.workers.len() > 0
}

// watch takes l away from a function that holds it for too long. It reports whether l
// was active since the last look.
func (k *watchdog) watch(l *loop, now int64) bool {
	epoch := l.epoch.Load()
	if epoch%2 == 1 {
		l.inside++
		l.group.Load().learnt.found(epoch - l.seen) // or one that has run since: it is a sample
	}
	if epoch != l.seen {
		l.seen, l.held = epoch, 0
		return true
	}
	if epoch%2 == 0 {
		return false
	}
	if l.held++; l.held < takeoverLooks || !l.epoch.CompareAndSwap(epoch, epoch+1) {
		return true
	}
	slow := l.serving
	k.engine.goroutines.Add(1)
	go l.run(newOwner())
	learnt := &slow.seat.group.learnt
	slow.handler.Slow() // Ready may have returned by now
	learnt.lost(now, k.waits.total)
	return true
}

// learn finds out whose functions block.
func (k *watchdog) learn(now int64) {
	groups := *k.engine.groups.Load()
	waited := k.waits.look(now, k.engine.loops)
	if waited {
		if g := longest(groups); g != nil {
			g.learnt.block(now, k.waits.total)
		}
	}
	if k.window != k.waits.began {
		k.window = k.waits.began
		for _, g := range groups {
			g.learnt.inside, g.learnt.length = 0, 0
		}
	}
	for _, g := range groups {
		if g.learnt.blocking.Load() {
			g.learnt.judge(now, k.waits.total)
		}
	}
}
