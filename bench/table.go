//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// printHead prints where and how the figures were taken.
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

// column is one figure of a table.
type column struct {
	head string
	cell func(summary) string
}

// columns of a load: the common ones, its ratios, and its own. before adds the ratio to the
// same server of an earlier version.
func (l load) columns(before bool) []column {
	rate, cpu := "req/s", column{"CPU us", func(s summary) string { return fmt.Sprintf("%.3f", s.CPUMicros) }}
	perGB := column{"CPU s per GB", func(s summary) string { return fmt.Sprintf("%.3f", s.CPUPerGB) }}
	if l.bulk != "" {
		rate, cpu = "MB/s", perGB
	}
	all := []column{
		{rate, func(s summary) string { return fmt.Sprintf("%.0f", s.PerSecond) }},
		cpu,
		{"spread of " + l.main().head, func(s summary) string { return percent(s.Spread) }},
	}
	if l.frame > 0 {
		all = append(all, perGB)
	}
	for _, c := range l.ratios {
		all = append(all, column{c.figure.head + " to " + c.to, func(s summary) string {
			return times(s.Ratios[c.figure.name][c.to])
		}})
	}
	if l.minus != "" {
		all = append(all, column{"us more than " + l.minus, func(s summary) string { return fmt.Sprintf("%.3f", s.MoreMicros) }})
	}
	if before {
		all = append(all, column{l.main().head + " to before", func(s summary) string {
			return times(s.Ratios[l.main().name][beforePrefix+s.Server])
		}})
	}
	if l.bulk == "" {
		all = append(all,
			column{"p50 us", func(s summary) string { return fmt.Sprintf("%.1f", s.P50Micros) }},
			column{"p99 us", func(s summary) string { return fmt.Sprintf("%.1f", s.P99Micros) }},
		)
	}
	if l.warmup > 0 {
		all = append(all, column{"req/s at first", func(s summary) string { return fmt.Sprintf("%.0f", s.WarmupRate) }})
	}
	if l.stalls {
		all = append(all, stalledColumns...)
	}
	if l.floods {
		all = append(all, floodedColumns...)
	}
	return append(all,
		column{"core used", func(s summary) string { return percent(s.Utilisation) }},
		column{"by others", func(s summary) string { return percent(s.ForeignShare) }},
	)
}

var stalledColumns = []column{
	{"max ms", func(s summary) string { return fmt.Sprintf("%.1f", s.MaxMicros/1000) }},
	{"worst max", func(s summary) string { return fmt.Sprintf("%.1f", s.Stalled.WorstMicros/1000) }},
	{"max before", func(s summary) string { return fmt.Sprintf("%.1f", s.Stalled.MaxBeforeMicros/1000) }},
	{"CPU to before", func(s summary) string { return times(s.Stalled.CPU) }},
	{"req/s to before", func(s summary) string { return times(s.Stalled.Rate) }},
}

var floodedColumns = []column{
	{"p50 without", func(s summary) string { return fmt.Sprintf("%.1f", s.Flooded.P50Without) }},
	{"p99 without", func(s summary) string { return fmt.Sprintf("%.1f", s.Flooded.P99Without) }},
	{"p99 to without", func(s summary) string { return times(s.Flooded.P99) }},
	{"req/s to without", func(s summary) string { return times(s.Flooded.Rate) }},
	{"handshakes/s", func(s summary) string { return fmt.Sprintf("%.0f", s.Flooded.PerSecond) }},
}

func (r loadResult) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", r.Name, r.About)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := r.load.columns(slices.ContainsFunc(r.Servers, func(s summary) bool {
		return strings.HasPrefix(s.Server, beforePrefix)
	}))
	fmt.Fprint(t, "server\t")
	for _, c := range columns {
		fmt.Fprint(t, c.head, "\t")
	}
	fmt.Fprintln(t)
	for _, s := range r.Servers {
		fmt.Fprint(t, s.Server, "\t")
		for _, c := range columns {
			fmt.Fprint(t, c.cell(s), "\t")
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

type memoryColumn struct {
	head string
	cell func(memoryResult) string
}

// memoryColumns are the common columns, and those of TLS and of an earlier version if they have
// figures.
func memoryColumns(memory []memoryResult) []memoryColumn {
	has := func(is func(memoryResult) bool) bool { return slices.ContainsFunc(memory, is) }
	all := []memoryColumn{
		{"RSS KiB per connection", func(m memoryResult) string { return fmt.Sprintf("%.2f", m.PerConn/1024) }},
		{"spread", func(m memoryResult) string { return percent(m.Spread) }},
	}
	if has(func(m memoryResult) bool { return m.Server == naiveTLS }) {
		all = append(all, memoryColumn{"RSS to " + naiveTLS, func(m memoryResult) string { return times(m.Ratios[naiveTLS]) }})
	}
	if has(func(m memoryResult) bool { return strings.HasPrefix(m.Server, beforePrefix) }) {
		all = append(all, memoryColumn{"RSS to before", func(m memoryResult) string { return times(m.Ratios[beforePrefix+m.Server]) }})
	}
	if has(func(m memoryResult) bool { return m.Heap != 0 }) {
		all = append(all, memoryColumn{"live heap KiB", func(m memoryResult) string { return fmt.Sprintf("%.2f", m.Heap/1024) }})
	}
	return append(all,
		memoryColumn{"RSS MiB before", func(m memoryResult) string { return fmt.Sprintf("%.1f", mib(m.Before)) }},
		memoryColumn{"RSS MiB after", func(m memoryResult) string { return fmt.Sprintf("%.1f", mib(m.After)) }},
	)
}

// printMemory prints the memory of idle clients. about says what they have done.
func printMemory(w io.Writer, name, about string, memory []memoryResult) {
	if len(memory) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s: connections: %d, %s\n", name, memory[0].Conns, about)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := memoryColumns(memory)
	fmt.Fprint(t, "server\t")
	for _, c := range columns {
		fmt.Fprint(t, c.head, "\t")
	}
	fmt.Fprintln(t)
	for _, m := range memory {
		fmt.Fprint(t, m.Server, "\t")
		for _, c := range columns {
			fmt.Fprint(t, c.cell(m), "\t")
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

// printRooms prints the memory of members of rooms.
func printRooms(w io.Writer, clients int, rooms []memoryResult) {
	if len(rooms) == 0 {
		return
	}
	fmt.Fprintf(w, "\nrooms: %d of %d members each, connections: %d\n", rooms[0].Conns/roomMembers, roomMembers, clients)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tRSS bytes per membership\tspread\tlive heap bytes\tRSS MiB before\tRSS MiB after\t")
	for _, m := range rooms {
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%.0f\t%.1f\t%.1f\t\n", m.Server, m.PerConn, percent(m.Spread), m.Heap, mib(m.Before), mib(m.After))
	}
	t.Flush()
}

func printPairs(w io.Writer, pairs []memoryResult) {
	if len(pairs) == 0 {
		return
	}
	fmt.Fprintf(w, "\npairs: clients of a proxy: %d, each with its upstream, after one line each\n", pairs[0].Conns)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "proxy\tRSS KiB per pair\tspread\tfiles per pair\tRSS MiB before\tRSS MiB after\t")
	for _, m := range pairs {
		fmt.Fprintf(t, "%s\t%.2f\t%s\t%.2f\t%.1f\t%.1f\t\n", m.Server, m.PerConn/1024, percent(m.Spread), m.Files, mib(m.Before), mib(m.After))
	}
	t.Flush()
}

// printKV prints a line per question, with both servers side by side.
func printKV(w io.Writer, results []loadResult) {
	fmt.Fprintf(w, "\nkv: redis-benchmark, connections: %d; %s to %s\n", kvConns, exampleKV, redis)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "question\tlines in flight\tredis req/CPU s\tkv req/CPU s\tratio\tspread\tredis req/s\tkv req/s\tby others\t")
	for _, r := range results {
		them, us := r.Servers[0], r.Servers[1]
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%s\t%s\t%.0f\t%.0f\t%s\t\n", r.Name, r.Depth,
			1e6/them.CPUMicros, 1e6/us.CPUMicros, times(us.Ratios[perCPUFigure.name][redis]), percent(us.Spread),
			them.PerSecond, us.PerSecond, percent(max(them.ForeignShare, us.ForeignShare)))
	}
	t.Flush()
}

// times formats a ratio, or the lack of one.
func times(ratio float64) string {
	if ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", ratio)
}

func percent(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) }

func mib(bytes float64) float64 { return bytes / (1 << 20) }
