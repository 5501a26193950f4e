//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printHead tells where and how the figures were taken.
func (r *results) printHead(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, %s, %d cores, %s, %s\n", m.Kernel, m.CPU, m.Cores, m.Go, m.Date)
	fmt.Fprintf(w, "server on core %d, load on core %d, %d-byte lines, medians of %d rounds of %gs\n",
		m.ServerCore, m.LoadCore, r.Settings.LineBytes, r.Settings.Rounds, r.Settings.Duration)
	if m.ServerCore == m.LoadCore {
		fmt.Fprintln(w, "only one core: server and load are in each other's way, compare nothing but ratios")
	}
	for name, reason := range r.Skipped {
		fmt.Fprintf(w, "%s skipped: %s\n", name, reason)
	}
}

func (l loadResult) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: connections: %d, lines in flight on each: %d\n", l.Name, l.Conns, l.Depth)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\treq/s\tCPU s per 1M\tspread\tto c-epoll\tto bufio\tp50 us\tp99 us\tcore used\tby others\t")
	for _, s := range l.Servers {
		fmt.Fprintf(t, "%s\t%.0f\t%.3f\t%.0f%%\t%s\t%s\t%.1f\t%.1f\t%.0f%%\t%.0f%%\t\n",
			s.Server, s.PerSecond, s.CPUPerM, 100*s.CPUSpread, times(s.ToCEpoll), times(s.ToBufio),
			s.P50Micros, s.P99Micros, 100*s.Utilisation, 100*s.ForeignShare)
	}
	t.Flush()
}

func printMemory(w io.Writer, memory []memoryResult) {
	if len(memory) == 0 {
		return
	}
	fmt.Fprintf(w, "\nidle: connections: %d, after one line each\n", memory[0].Conns)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tRSS KB per connection\tRSS MB before\tRSS MB after\t")
	for _, m := range memory {
		fmt.Fprintf(t, "%s\t%.2f\t%.1f\t%.1f\t\n", m.Server, m.PerConn/1024, mib(m.Before), mib(m.After))
	}
	t.Flush()
}

// times shows a ratio, or that there is none.
func times(ratio float64) string {
	if ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", ratio)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
