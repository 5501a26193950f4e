package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// memory returns the memory that belongs to the process alone, in bytes. It is RssAnon: VmRSS
// also counts pages of the program's file, which the kernel maps as it sees fit
// (proc_pid_status(5)).
func (p *process) memory() int {
	p.t.Helper()
	for line := range strings.Lines(p.proc("status")) {
		if rest, found := strings.CutPrefix(line, "RssAnon:"); found {
			kilobytes, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				p.t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	p.t.Skip("the kernel does not report RssAnon")
	return 0
}

// cpu returns the CPU time of the process. Its unit is a hundredth of a second, whatever unit
// the kernel uses itself (proc_pid_stat(5), USER_HZ).
func (p *process) cpu() time.Duration {
	p.t.Helper()
	stat := p.proc("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name may hold anything
	var ticks int
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (p *process) proc(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// peak returns the largest memory of the process while f runs.
func (p *process) peak(f func()) int {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	most := 0
	for {
		most = max(most, p.memory())
		select {
		case <-done:
			return max(most, p.memory())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func mebibytes(bytes int) string { return fmt.Sprintf("%.2f MiB", float64(bytes)/(1<<20)) }
