package eventloop

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Functions that wait for less than it takes to lose a loop, a query that is answered
// within a millisecond, hold up all the others of their loop, one after the other. No
// look can tell such a function from one that works; but who works uses the processor,
// or is kept from it by others. What is left of the time in functions was waited.

const (
	// window is over how many looks the time in functions is added up.
	window = 25

	// interrupted is between looks that are not of the same window: there was nothing
	// to look after.
	interrupted = 10 * tick

	// longTurn is from how long on a turn of a goroutine of its own is added up.
	longTurn = 200 * time.Microsecond
)

// waits adds up the time that the loops spend in functions. It is the keeper's.
type waits struct {
	began, last int64 // the window, and the last look
	looks       int
	inside      int // looks that found a function running, all loops together
	most        int // those of the loop with the most

	cpu       time.Duration // that the process had used when the window began
	suspected bool          // by the window before; then delayed is known
	delayed   time.Duration
}

// look adds one look at the loops. It reports whether their functions wait for a good
// part of the time: by two windows in a row, of which the second also knows for how
// long the system did not run them.
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

// waited judges a window for whose end so much time is accounted for: a loop was in
// functions for half of it or more, and a good part of what all were is missing.
func (w *waits) waited(now int64, used time.Duration) bool {
	elapsed := time.Duration(now - w.began)
	inFunctions := elapsed * time.Duration(w.inside) / time.Duration(w.looks)
	return 2*w.most >= w.looks && unaccounted(inFunctions, used, elapsed)
}

// unaccounted reports whether of the time in functions a quarter and more was not used,
// and that was a quarter of the time in which it was measured.
func unaccounted(inFunctions, used, elapsed time.Duration) bool {
	return inFunctions-used >= max(inFunctions, elapsed)/4
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) // fails for unknown clocks only
	return time.Duration(t.Nano())
}

// runDelay is for how long the threads of the process could have run so far, and did
// not, as others had the processors: the second field of /proc/PID/task/TID/schedstat
// (Documentation/scheduler/sched-stats.rst). Where the system does not say, no time is
// ever accounted for by it.
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

// readSmall is the text of a small file, empty if there is none: its thread may have
// ended. It costs a third of the system calls of os.ReadFile.
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
