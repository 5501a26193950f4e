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
	// tick is how often the keeper looks while there is something to do.
	tick = 2 * time.Millisecond

	// patience is for how many looks a function may hold its loop: one that the
	// system did not run for a moment looks the same as one that waits.
	patience = 2

	// So many loops taken away within a while, or functions that wait for less than
	// that but often (see waits), and they are run on goroutines of their own.
	tolerance = 8
	while     = time.Second

	// slowTurn is how long a turn of such a goroutine takes that would have
	// cost a loop.
	slowTurn = patience * tick

	// They come back to the loops when there were fewer slow ones than that, and
	// little waiting, for minQuiet; if it was wrong, after twice that time, up to
	// maxQuiet.
	minQuiet = time.Second
	maxQuiet = time.Minute

	// sweepTicks is after how many ticks workers without an event are dismissed.
	sweepTicks = 100
)

// keeper looks after the loops of a group: it takes them away from functions that
// block, and has the timers. It has a timer of the kernel's for itself (a
// timerfd), rather than one of the runtime's, because with one of those that is
// near, each wait in the runtime's poller would set the hardware's timer.
type keeper struct {
	group *Group
	timer *os.File
	raw   syscall.RawConn // of timer

	mu      sync.Mutex // orders start and rest
	ticking atomic.Bool

	waits waits

	blocking atomic.Bool  // functions have goroutines of their own
	slow     atomic.Int32 // slow turns of those since counted
	long     atomic.Int64 // what long turns of those took since, together
	counted  int64
	used     time.Duration // by the process until then, and what it had to wait
	lastSlow int64         // when there were too many
	quiet    time.Duration
	left     int64            // when blocking was cleared
	taken    [tolerance]int64 // when loops were taken away, a ring
	takes    int

	ticks int
	due   []*Socket
}

func newKeeper(g *Group) (*keeper, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventloop: timerfd_create: %w", err)
	}
	k := &keeper{group: g, timer: os.NewFile(uintptr(fd), "timerfd"), quiet: minQuiet}
	k.raw, err = k.timer.SyscallConn()
	return k, err
}

// run is the keeper's goroutine. It ends when the timer is closed.
func (k *keeper) run() {
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

// stir has the keeper look from now on.
func (k *keeper) stir() {
	if !k.ticking.Load() {
		k.start()
	}
}

func (k *keeper) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ticking.CompareAndSwap(false, true) {
		k.set(tick, tick)
	}
}

// rest stops the ticks until a loop wakes, or the first timer ends.
func (k *keeper) rest() {
	k.mu.Lock()
	defer k.mu.Unlock()
	ticked := k.ticking.Swap(false) // not if we were at rest, and a timer has ended
	next := int64(math.MaxInt64)
	for _, l := range k.group.loops {
		// It says that it is awake before it asks whether we tick.
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
func (k *keeper) set(first, interval time.Duration) {
	spec := unix.ItimerSpec{
		Value:    unix.NsecToTimespec(int64(first)),
		Interval: unix.NsecToTimespec(int64(interval)),
	}
	k.raw.Control(func(fd uintptr) { unix.TimerfdSettime(int(fd), 0, &spec, nil) })
}

// look is one tick. It reports whether there is something to look after.
func (k *keeper) look() (busy bool) {
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

// watch takes l away from a function that holds it. It reports whether something
// has happened in l.
func (k *keeper) watch(l *loop, now int64) bool {
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
	if l.held++; l.held < patience || !l.epoch.CompareAndSwap(epoch, epoch+1) {
		return true
	}
	slow := l.serving
	k.group.goroutines.Add(1)
	go l.run(newOwner())
	slow.handler.Slow() // Ready may have returned by now
	k.taken[k.takes%tolerance] = now
	k.takes++
	if k.takes >= tolerance && now-k.taken[k.takes%tolerance] < int64(while) {
		k.block(now)
	}
	return true
}

// block gives functions goroutines of their own from now on.
func (k *keeper) block(now int64) {
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

// judge brings the functions back to the loops when for long enough few were slow, and
// they waited for little of the time. A single slow one says little: the system may not
// have run it for a moment.
func (k *keeper) judge(now int64) {
	if elapsed := time.Duration(now - k.counted); elapsed >= while {
		used := cpuTime() + runDelay()
		inFunctions := time.Duration(k.long.Swap(0))
		if k.slow.Swap(0) >= tolerance || unaccounted(inFunctions, used-k.used, elapsed) {
			k.lastSlow = now
		}
		k.counted, k.used = now, used
	}
	if now-k.lastSlow > int64(k.quiet) {
		k.blocking.Store(false)
		k.left = now
	}
}
