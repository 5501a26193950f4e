package eventloop

import (
	"runtime"
	"time"
	"unsafe"

	"go.uber.org/atomic"
	"golang.org/x/sys/unix"
)

// A loop that waits in the runtime's poller gives its processor up for that: going to sleep
// and waking up costs more than serving a line. While the waits are short, a loop naps
// instead: it waits in epoll_wait(2) itself, and its processor with it.
//
// What else the processor has to do must not wait for long. Goroutines that can run do so
// before each nap. Of several processors one is always left to the runtime's poller and
// timers: see napping. With one processor, or if the others compute, network events and timers
// of the runtime wait up to 10 ms, as they do while goroutines compute on all processors. The
// runtime takes the processor back from a nap of 20 ms (runtime/proc.go, sysmon and retake).
// After a long nap, none comes for a while.
//
// A nap has no timeout: on a virtual machine, setting the timer costs more than a nap saves.
const (
	shortWait   = int64(200 * time.Microsecond)
	enoughShort = 16 // short waits in a row before the first nap

	longNap    = int64(2 * time.Millisecond)
	minPenalty = 64   // short waits before the next nap after a long one
	maxPenalty = 1024 // the same after several
)

// naps decides whether the next wait is a nap. The zero value begins with none.
type naps struct {
	short   int // short waits in a row, up to enoughShort; negative after a long nap
	penalty int // of the last long nap
}

// may reports whether the next wait may be a nap.
func (n *naps) may() bool { return n.short >= enoughShort }

// waited notes how long a wait was, in nanoseconds, and whether it was a nap.
func (n *naps) waited(took int64, napped bool) {
	switch {
	case took < shortWait:
		n.short = min(n.short+1, enoughShort)
	case napped && took > longNap:
		n.penalty = min(max(minPenalty, 2*n.penalty), maxPenalty)
		n.short = enoughShort - n.penalty
	default:
		n.short = min(n.short, 0)
	}
}

// nappers counts the loops of the process that nap.
var nappers atomic.Int32

// napping takes the right to nap. One processor, of several, is left to the runtime.
func napping(processors int) bool {
	if int(nappers.Inc()) <= max(1, processors-1) {
		return true
	}
	nappers.Dec()
	return false
}

// nap waits for events in the kernel, and returns how many there are. It may return early, with
// none.
func (l *loop) nap() (n int) {
	defer nappers.Dec()
	runtime.Gosched() // to goroutines that wait for this processor
	if l.woken() {
		return 0
	}
	r, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.ready)), batch, forever, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(r)
}

// forever is a timeout of -1.
const forever = ^uintptr(0)
