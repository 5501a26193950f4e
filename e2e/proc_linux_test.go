package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// memory is what a process holds of memory of its own, in bytes: RssAnon, which
// is VmRSS without the pages of the program's file, and of those the kernel
// maps more when it sees fit (proc_pid_status(5)).
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
	p.t.Skip("the kernel does not tell RssAnon")
	return 0
}

// cpu is the processor time that a process has used. It comes in hundredths of
// a second, whatever the kernel counts in (proc_pid_stat(5), USER_HZ).
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

// peak watches the memory of a process while f runs, and returns the most.
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
