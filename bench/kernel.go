//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clocks are read at both ends of a measurement.
type clocks struct {
	wall   time.Time
	server time.Duration // CPU of the server
	own    time.Duration // CPU of this process
	busy   time.Duration // of the cores, by all processes
}

func readClocks(server int, forks bool, cores []int) (c clocks, err error) {
	if c.busy, err = coresBusy(cores); err != nil {
		return c, err
	}
	if c.own, err = processCPU(os.Getpid()); err != nil {
		return c, err
	}
	cpu := processCPU
	if forks {
		cpu = familyCPU
	}
	if c.server, err = cpu(server); err != nil {
		return c, err
	}
	c.wall = time.Now()
	return c, nil
}

// since returns the time that passed on the clocks between before and c. The CPU time of a
// load beside this process counts as the measurement's own.
func (c clocks) since(before clocks, load time.Duration) measurement {
	wall, cpu := c.wall.Sub(before.wall), c.server-before.server
	foreign := (c.busy - before.busy) - cpu - (c.own - before.own) - load
	return measurement{Wall: wall, CPU: cpu, Foreign: max(0, foreign.Seconds()/wall.Seconds())}
}

// processCPU is the time, user and system, for which all threads of a process have run. The
// CPU clock of a process has nanoseconds; /proc/PID/stat has ticks of 10 ms. The clock's
// number is made from the pid as in clock_getcpuclockid(3).
func processCPU(pid int) (time.Duration, error) {
	const scheduled = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// familyCPU is processCPU of a process and its children, including those that have ended and
// that it has waited for. The time of the latter is known in ticks of 10 ms.
func familyCPU(pid int) (time.Duration, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	sum, err := endedCPU(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range strings.Fields(string(children)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		if cpu, err := processCPU(id); err == nil { // it may have ended
			sum += cpu
		}
	}
	own, err := processCPU(pid)
	return sum + own, err
}

// endedCPU returns cutime and cstime of proc_pid_stat(5).
func endedCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may contain spaces; state is the field after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("stat of process %d: %q", pid, stat)
	}
	var ticks int64
	for _, field := range fields[13:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHz, nil
}

// openFiles returns how many files a process has open.
func openFiles(pid int) (int, error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(files), err
}

// userHz is the number of ticks per second.
const userHz = 100

// coresBusy is the time for which the cores have run anything. The kernel counts it in ticks,
// so it is exact enough for a share of a second only.
func coresBusy(cores []int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, core := range cores {
		busy, err := busyTime(lineOf(stat, fmt.Sprintf("cpu%d ", core)))
		if err != nil {
			return 0, fmt.Errorf("core %d in /proc/stat: %w", core, err)
		}
		sum += busy
	}
	return sum, nil
}

// busyTime adds up the fields of a core's line, except idle and iowait. The fields are user,
// nice, system, idle, iowait, irq, softirq, steal; the others are contained in these.
func busyTime(line string) (time.Duration, error) {
	fields := strings.Fields(line)
	if len(fields) < 8 {
		return 0, errors.New("not found")
	}
	var ticks int64
	for _, field := range slices.Concat(fields[:3], fields[5:8]) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHz, nil
}

// residentBytes returns the resident memory of a process.
func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseInt(strings.TrimSuffix(lineOf(status, "VmRSS:"), " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("VmRSS of process %d: %w", pid, err)
	}
	return kib << 10, nil
}

// lineOf finds the line that starts with key and returns the rest of it.
func lineOf(text []byte, key string) string {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return strings.TrimSpace(string(rest))
		}
	}
	return ""
}

// twoCores chooses a core for the server and one for the load among those that this process
// may use. They are the same if there is only one.
func twoCores() (server, load int, err error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, 0, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var cores []int
	for core := 0; len(cores) < min(2, allowed.Count()); core++ {
		if allowed.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores[0], cores[len(cores)-1], nil
}

// startOn starts cmd on some cores. The child inherits the affinity of the thread that forks
// it, so all of its threads are bound from the start; binding it later would miss the threads
// that it has started by then.
func startOn(cores []int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	for _, core := range cores {
		set.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to cores %v: %w", cores, err)
	}
	// Restore the affinity of before.
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return cmd.Start()
}
