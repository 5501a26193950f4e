//go:build linux

package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

// results is the file that a run writes.
type results struct {
	Machine  machine           `json:"machine"`
	Settings settings          `json:"settings"`
	Skipped  map[string]string `json:"skipped,omitempty"` // server or part to reason
	Loads    []loadResult      `json:"loads"`
	Memory   []memoryResult    `json:"memory,omitempty"`
	Rooms    []memoryResult    `json:"rooms,omitempty"` // for a membership, not for a connection
	Pairs    []memoryResult    `json:"pairs,omitempty"`

	TLSMemory      []memoryResult `json:"tls_memory,omitempty"`
	TLSMemoryFrame []memoryResult `json:"tls_memory_frame,omitempty"` // after a frame, not a line

	KV []loadResult `json:"kv,omitempty"`
}

type settings struct {
	Rounds    int     `json:"rounds"`
	Duration  float64 `json:"duration_s"`
	Warmup    float64 `json:"warmup_s"`
	LineBytes int     `json:"line_bytes"`
}

// loadResult is one table.
type loadResult struct {
	Name    string    `json:"name"`
	About   string    `json:"about"`
	Conns   int       `json:"connections"`
	Depth   int       `json:"lines_per_burst,omitempty"`
	Frame   int       `json:"frame_bytes,omitempty"`
	Servers []summary `json:"servers"`

	load load
}

// summary is one line of a table: medians over the rounds.
type summary struct {
	Server       string  `json:"server"`
	PerSecond    float64 `json:"requests_per_second"`
	CPUMicros    float64 `json:"cpu_us_per_request"`
	Spread       float64 `json:"spread"` // of the load's main figure
	CPUPerGB     float64 `json:"cpu_s_per_gb,omitempty"`
	P50Micros    float64 `json:"p50_us"`
	P99Micros    float64 `json:"p99_us"`
	MaxMicros    float64 `json:"max_us"`
	Utilisation  float64 `json:"core_utilisation"`
	MoreMicros   float64 `json:"more_cpu_us_per_request,omitempty"` // than the server that the load subtracts
	ForeignShare float64 `json:"foreign_share"`
	WarmupRate   float64 `json:"warmup_requests_per_second,omitempty"`

	// Stalled is set if another client made the server sleep.
	Stalled *stalledSummary `json:"stalled,omitempty"`

	// Flooded is set if handshakes came in beside the load.
	Flooded *floodedSummary `json:"flooded,omitempty"`

	// Ratios maps a figure and another server to this server's figure divided by that one's.
	Ratios map[string]map[string]float64 `json:"ratios"`

	Rounds []measurement `json:"rounds"`
}

// stalledSummary compares with the measurement just before.
type stalledSummary struct {
	CPU             float64 `json:"cpu_ratio_to_before"`
	Rate            float64 `json:"rate_ratio_to_before"`
	MaxBeforeMicros float64 `json:"max_before_us"`
	WorstMicros     float64 `json:"worst_max_us"` // over all rounds, not the median
}

// floodedSummary compares with the measurement just before, without the flood.
type floodedSummary struct {
	PerSecond  float64 `json:"handshakes_per_second"`
	P99        float64 `json:"p99_ratio_to_without"`
	Rate       float64 `json:"rate_ratio_to_without"`
	P50Without float64 `json:"p50_without_us"`
	P99Without float64 `json:"p99_without_us"`
}

type memoryResult struct {
	Server  string  `json:"server"`
	Conns   int     `json:"connections"`
	PerConn float64 `json:"rss_bytes_per_connection"`
	Spread  float64 `json:"rss_spread"`
	Heap    float64 `json:"heap_bytes_per_connection,omitempty"`
	Files   float64 `json:"files_per_connection"`
	Before  float64 `json:"rss_before"`
	After   float64 `json:"rss_after"`

	// Ratios maps another server to this server's memory divided by that one's.
	Ratios map[string]float64 `json:"rss_ratios"`

	Rounds []footprint `json:"rounds"`
}

func (m measurement) perSecond() float64    { return float64(m.Requests) / m.Wall.Seconds() }
func (m measurement) cpuMicros() float64    { return micros(m.CPU) / float64(m.Requests) }
func (m measurement) handshakes() float64   { return float64(m.Handshakes) / m.Wall.Seconds() }
func (m measurement) perCPUSecond() float64 { return float64(m.Requests) / m.CPU.Seconds() }

// cpuPerGB is zero where bytes are not counted.
func (m measurement) cpuPerGB() float64 {
	if m.Bytes == 0 {
		return 0
	}
	return m.CPU.Seconds() / float64(m.Bytes) * 1e9
}

func (m measurement) utilisation() float64 { return m.CPU.Seconds() / m.Wall.Seconds() }
func (m measurement) p50Micros() float64   { return micros(m.P50) }
func (m measurement) p99Micros() float64   { return micros(m.P99) }
func (m measurement) maxMicros() float64   { return micros(m.Max) }
func (m measurement) warmup() float64      { return m.Warmup }
func (m measurement) foreign() float64     { return m.Foreign }

// figure is a number by which servers are compared.
type figure struct {
	name string // in JSON
	head string // head of a table's column
	of   func(measurement) float64
}

var (
	cpuFigure      = figure{"cpu", "CPU", measurement.cpuMicros}
	perCPUFigure   = figure{"requests_per_cpu_second", "req/CPU s", measurement.perCPUSecond}
	cpuPerGBFigure = figure{"cpu_per_gb", "CPU", measurement.cpuPerGB}
	rateFigure     = figure{"rate", "req/s", measurement.perSecond}
	p50Figure      = figure{"p50", "p50", measurement.p50Micros}
	p99Figure      = figure{"p99", "p99", measurement.p99Micros}
	floodFigure    = figure{"handshakes", "handshakes/s", measurement.handshakes}
)

var figures = []figure{cpuFigure, cpuPerGBFigure, perCPUFigure, rateFigure, p50Figure, p99Figure, floodFigure}

// comparison is a column: a figure relative to that of another server.
type comparison struct {
	figure figure
	to     string
}

// summarize turns the rounds of all servers under one load into the lines of its table.
func summarize(l load, order []string, rounds map[string][]measurement) loadResult {
	r := loadResult{Name: l.name, About: l.about(), Conns: l.conns, Depth: l.depth, Frame: l.frame, load: l}
	for _, name := range order {
		of := rounds[name]
		r.Servers = append(r.Servers, summary{
			Server:       name,
			PerSecond:    medianOf(of, measurement.perSecond),
			CPUMicros:    medianOf(of, measurement.cpuMicros),
			Spread:       spread(of, l.main().of),
			CPUPerGB:     medianOf(of, measurement.cpuPerGB),
			P50Micros:    medianOf(of, measurement.p50Micros),
			P99Micros:    medianOf(of, measurement.p99Micros),
			MaxMicros:    medianOf(of, measurement.maxMicros),
			Utilisation:  medianOf(of, measurement.utilisation),
			ForeignShare: medianOf(of, measurement.foreign),
			WarmupRate:   medianOf(of, measurement.warmup),
			MoreMicros:   more(of, rounds[l.minus]),
			Stalled:      summarizeStalled(l, of),
			Flooded:      summarizeFlooded(l, of),
			Ratios:       ratios(name, rounds),
			Rounds:       of,
		})
	}
	return r
}

// beforeThem are the measurements before these.
func beforeThem(rounds []measurement) []measurement {
	before := make([]measurement, len(rounds))
	for i, m := range rounds {
		before[i] = *m.Before
	}
	return before
}

func summarizeFlooded(l load, rounds []measurement) *floodedSummary {
	if !l.floods {
		return nil
	}
	before := beforeThem(rounds)
	return &floodedSummary{
		PerSecond:  medianOf(rounds, measurement.handshakes),
		P99:        ratio(p99Figure, rounds, before),
		Rate:       ratio(rateFigure, rounds, before),
		P50Without: medianOf(before, measurement.p50Micros),
		P99Without: medianOf(before, measurement.p99Micros),
	}
}

func summarizeStalled(l load, rounds []measurement) *stalledSummary {
	if !l.stalls {
		return nil
	}
	before := beforeThem(rounds)
	return &stalledSummary{
		CPU:             ratio(cpuFigure, rounds, before),
		Rate:            ratio(rateFigure, rounds, before),
		MaxBeforeMicros: medianOf(before, measurement.maxMicros),
		WorstMicros:     slices.MaxFunc(rounds, func(a, b measurement) int { return int(a.Max - b.Max) }).maxMicros(),
	}
}

// ratios compares a server with all others.
func ratios(name string, rounds map[string][]measurement) map[string]map[string]float64 {
	all := make(map[string]map[string]float64)
	for _, f := range figures {
		all[f.name] = make(map[string]float64)
		for other := range rounds {
			all[f.name][other] = ratio(f, rounds[name], rounds[other])
		}
	}
	return all
}

// more is how much more CPU time a server needs for a request than another one, in microseconds:
// the median of the differences within each round. It is zero if the other was not measured.
func more(of, than []measurement) float64 {
	each := make([]float64, len(than))
	for i := range than {
		each[i] = of[i].cpuMicros() - than[i].cpuMicros()
	}
	return median(each)
}

// ratio compares two servers within each round, in which the machine was in the same state for
// both, and returns the median. It is zero if the divisor is zero.
func ratio(f figure, of, to []measurement) float64 { return ratioOf(f.of, of, to) }

func ratioOf[R any](figure func(R) float64, of, to []R) float64 {
	each := make([]float64, len(of))
	for i := range of {
		if by := figure(to[i]); by != 0 {
			each[i] = figure(of[i]) / by
		}
	}
	return median(each)
}

func summarizeMemory(server string, all map[string][]footprint) memoryResult {
	rounds, ratios := all[server], make(map[string]float64)
	for other := range all {
		ratios[other] = ratioOf(footprint.perConn, rounds, all[other])
	}
	return memoryResult{
		Server:  server,
		Conns:   rounds[0].Conns,
		PerConn: medianOf(rounds, footprint.perConn),
		Spread:  spread(rounds, footprint.perConn),
		Before:  medianOf(rounds, func(f footprint) float64 { return float64(f.Before) }),
		Heap:    medianOf(rounds, footprint.heapPerConn),
		Files:   medianOf(rounds, footprint.filesPerConn),
		After:   medianOf(rounds, func(f footprint) float64 { return float64(f.After) }),
		Ratios:  ratios,
		Rounds:  rounds,
	}
}

func medianOf[R any](rounds []R, figure func(R) float64) float64 {
	each := make([]float64, len(rounds))
	for i, r := range rounds {
		each[i] = figure(r)
	}
	return median(each)
}

// spread is the range of a figure over the rounds, as a share of the median; zero if that is
// zero.
func spread[R any](rounds []R, figure func(R) float64) float64 {
	low, high := figure(rounds[0]), figure(rounds[0])
	for _, r := range rounds[1:] {
		low, high = min(low, figure(r)), max(high, figure(r))
	}
	middle := medianOf(rounds, figure)
	if middle == 0 {
		return 0
	}
	return (high - low) / middle
}

// median sorts values.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (r *results) writeJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
