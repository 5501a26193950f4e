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

// watchdog watches the loops of a group: it takes a loop away from a function that
// blocks, and it drives the timers. Its own timer is a timerfd. With a timer of the
// runtime that expires soon, each wait in the runtime's poller would set the hardware's
// timer.
type watchdog struct {
	group *Group
	timer *os.File
	raw   syscall.RawConn // of timer

	mu      sync.Mutex // orders start and rest
	ticking atomic.Bool

	waits waits

	blocking atomic.Bool  // functions have goroutines of their own
	slow     atomic.Int32 // slow calls in those goroutines since counted
	long     atomic.Int64 // nanoseconds in long calls there since counted
	counted  int64
	used     time.Duration // processor time of the process until counted, and time it queued for one
	lastSlow int64         // when too many calls were slow
	quiet    time.Duration
	left     int64                // when blocking was cleared
	taken    [takeoverLimit]int64 // a ring: when loops were taken away
	takes    int

	ticks int
	due   []*Socket
}

func newWatchdog(g *Group) (*watchdog, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventloop: timerfd_create: %w", err)
	}
	k := &watchdog{group: g, timer: os.NewFile(uintptr(fd), "timerfd"), quiet: minQuiet}
	k.raw, err = k.timer.SyscallConn()
	return k, err
}

// run is the watchdog's goroutine. It ends when the timer is closed.
func (k *watchdog) run() {
	defer k.group.goroutines.Done()
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
	for _, l := range k.group.loops {
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
		k.set(max(time.Duration(next-k.group.Now()), 1), 0)
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
	now := k.group.Now()
	for _, l := range k.group.loops {
		busy = k.watch(l, now) || !l.asleep.Load() || busy
		k.due = l.wheel.expire(now, k.due[:0])
		for i, s := range k.due {
			s.handler.Expired()
			k.due[i] = nil
		}
	}
	if k.blocking.Load() {
		k.judge(now)
	} else if k.waits.look(now, k.group.loops) {
		k.block(now)
	}
	if k.ticks++; k.ticks%sweepTicks == 0 {
		k.group.workers.sweep()
	}
	return busy || k.group.workers.len() > 0
}

// watch takes l away from a function that holds it for too long. It reports whether l
// was active since the last look.
func (k *watchdog) watch(l *loop, now int64) bool {
	epoch := l.epoch.Load()
	if epoch%2 == 1 {
		l.inside++
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
	k.group.goroutines.Add(1)
	go l.run(newOwner())
	slow.handler.Slow() // Ready may have returned by now
	k.taken[k.takes%takeoverLimit] = now
	k.takes++
	if k.takes >= takeoverLimit && now-k.taken[k.takes%takeoverLimit] < int64(takeoverWindow) {
		k.block(now)
	}
	return true
}

// block gives functions goroutines of their own from now on.
func (k *watchdog) block(now int64) {
	if k.blocking.Load() {
		return
	}
	switch {
	case k.left != 0 && now-k.left < int64(k.quiet):
		k.quiet = min(2*k.quiet, maxQuiet)
	default:
		k.quiet = minQuiet
	}
	k.slow.Store(0)
	k.long.Store(0)
	k.counted, k.used, k.lastSlow = now, cpuTime()+runDelay(), now
	k.blocking.Store(true)
	k.takes = 0
}

// judge brings the functions back to the loops when few were slow, and they waited for
// little of the time, for long enough. A single slow call says little: the system may not
// have run it for a moment.
func (k *watchdog) judge(now int64) {
	if elapsed := time.Duration(now - k.counted); elapsed >= takeoverWindow {
		used := cpuTime() + runDelay()
		inFunctions := time.Duration(k.long.Swap(0))
		if k.slow.Swap(0) >= takeoverLimit || unaccounted(inFunctions, used-k.used, elapsed) {
			k.lastSlow = now
		}
		k.counted, k.used = now, used
	}
	if now-k.lastSlow > int64(k.quiet) {
		k.blocking.Store(false)
		k.left = now
	}
}
