package eventloop

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A function that waits for a millisecond, say for the answer to a query, never loses its
// loop, but it holds up all other sockets of the loop. A look cannot tell it from a
// function that computes. But computing uses processor time, or queues for a processor.
// The rest of the time in functions was spent waiting.

const (
	// window is the number of looks over which the time in functions is added up.
	window = 25

	// interrupted is the time between two looks after which a new window begins: the
	// watchdog was at rest.
	interrupted = 10 * tick

	// longTurn is from how long on a call of Ready in a worker is added up.
	longTurn = 200 * time.Microsecond
)

// waits adds up the time that the loops spend in functions. The watchdog owns it.
type waits struct {
	began, last int64 // the window, and the last look
	looks       int
	inside      int // looks that found a function running, in all loops
	most        int // looks that found one running, in the loop with the most

	total time.Duration // in functions, in all windows

	cpu       time.Duration // that the process had used when the window began
	suspected bool          // by the window before; then delayed is known
	delayed   time.Duration
}

// look adds one look at the loops. It reports whether their functions wait for a good
// part of the time. That takes two windows in a row; the second one also knows how long
// the threads queued for a processor.
func (w *waits) look(now int64, loops []*loop) bool {
	if now-w.last > int64(interrupted) {
		w.suspected = false
		w.begin(now, cpuTime(), loops)
	}
	w.last = now
	if w.looks++; w.looks < window {
		return false
	}
	for _, l := range loops {
		w.inside += l.inside
		w.most = max(w.most, l.inside)
	}
	w.total += w.inFunctions(now)
	cpu, before, known := cpuTime(), w.delayed, w.suspected
	waited := w.waited(now, cpu-w.cpu)
	w.suspected = waited
	if waited {
		w.delayed = runDelay()
		waited = known && w.waited(now, cpu-w.cpu+w.delayed-before)
	}
	w.begin(now, cpu, loops)
	return waited
}

// begin begins a window.
func (w *waits) begin(now int64, cpu time.Duration, loops []*loop) {
	w.began, w.cpu = now, cpu
	w.looks, w.inside, w.most = 0, 0, 0
	for _, l := range loops {
		l.inside = 0
	}
}

// waited judges the window that ends now. used is the time that is accounted for. It
// reports whether a loop was in functions for half of the window, and a good part of the
// time in functions is not accounted for.
func (w *waits) waited(now int64, used time.Duration) bool {
	return 2*w.most >= w.looks && unaccounted(w.inFunctions(now), used, time.Duration(now-w.began))
}

// inFunctions is how long the loops together were in functions in the window that ends now.
func (w *waits) inFunctions(now int64) time.Duration {
	return time.Duration(now-w.began) * time.Duration(w.inside) / time.Duration(w.looks)
}

// unaccounted reports whether a quarter or more of the time in functions was not used,
// and that is a quarter or more of the time in which it was measured.
func unaccounted(inFunctions, used, elapsed time.Duration) bool {
	return inFunctions-used >= max(inFunctions, elapsed)/4
}

// cpuTime is the processor time that the process has used so far.
func cpuTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) // fails for unknown clocks only
	return time.Duration(t.Nano())
}

// runDelay is how long the threads of the process have queued for a processor so far: the
// second field of /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst).
// It is zero where the system does not tell.
func runDelay() (sum time.Duration) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		text := readSmall("/proc/self/task/" + thread.Name() + "/schedstat")
		if fields := strings.Fields(text); len(fields) == 3 {
			ns, _ := strconv.ParseInt(fields[1], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// readSmall returns the text of a small file; empty if it cannot be read, as its thread
// may have ended. It makes a third of the system calls of os.ReadFile.
func readSmall(name string) string {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var text [128]byte
	n, _ := unix.Read(fd, text[:])
	return string(text[:max(n, 0)])
}
