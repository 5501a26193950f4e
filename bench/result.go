//go:build linux

package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

// results is the file that a run leaves behind.
type results struct {
	Machine  machine           `json:"machine"`
	Settings settings          `json:"settings"`
	Skipped  map[string]string `json:"skipped,omitempty"` // server to reason
	Loads    []loadResult      `json:"loads"`
	Memory   []memoryResult    `json:"memory,omitempty"`
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
	Conns   int       `json:"connections"`
	Depth   int       `json:"lines_per_burst"`
	Servers []summary `json:"servers"`
}

// summary is one line of a table: medians over the rounds.
type summary struct {
	Server       string  `json:"server"`
	PerSecond    float64 `json:"lines_per_second"`
	CPUPerM      float64 `json:"cpu_s_per_million_lines"`
	CPUSpread    float64 `json:"cpu_spread"`
	ToCEpoll     float64 `json:"cpu_ratio_to_c_epoll,omitempty"`
	ToBufio      float64 `json:"cpu_ratio_to_bufio,omitempty"`
	P50Micros    float64 `json:"p50_us"`
	P99Micros    float64 `json:"p99_us"`
	Utilisation  float64 `json:"core_utilisation"`
	ForeignShare float64 `json:"foreign_share"`

	Rounds []measurement `json:"rounds"`
}

type memoryResult struct {
	Server  string  `json:"server"`
	PerConn float64 `json:"rss_bytes_per_connection"`
	footprint
}

func (m measurement) perSecond() float64   { return float64(m.Lines) / m.Wall.Seconds() }
func (m measurement) cpuPerM() float64     { return m.CPU.Seconds() / float64(m.Lines) * 1e6 }
func (m measurement) utilisation() float64 { return m.CPU.Seconds() / m.Wall.Seconds() }

// summarize turns the rounds of all servers under one load into the lines of
// its table.
func summarize(l load, order []string, rounds map[string][]measurement) loadResult {
	r := loadResult{Name: l.name, Conns: l.conns, Depth: l.depth}
	for _, name := range order {
		of := rounds[name]
		r.Servers = append(r.Servers, summary{
			Server:       name,
			PerSecond:    medianOf(of, measurement.perSecond),
			CPUPerM:      medianOf(of, measurement.cpuPerM),
			CPUSpread:    spread(of, measurement.cpuPerM),
			ToCEpoll:     ratio(of, rounds[cEpoll]),
			ToBufio:      ratio(of, rounds[naive]),
			P50Micros:    medianOf(of, func(m measurement) float64 { return micros(m.P50) }),
			P99Micros:    medianOf(of, func(m measurement) float64 { return micros(m.P99) }),
			Utilisation:  medianOf(of, measurement.utilisation),
			ForeignShare: medianOf(of, func(m measurement) float64 { return m.Foreign }),
			Rounds:       of,
		})
	}
	return r
}

// ratio compares the CPU per line of two servers within each round, where both
// met the same neighbours on the machine, and takes the median of that. It is
// zero where the other server did not run.
func ratio(of, to []measurement) float64 {
	if len(of) != len(to) {
		return 0
	}
	each := make([]float64, len(of))
	for i := range of {
		each[i] = of[i].cpuPerM() / to[i].cpuPerM()
	}
	return median(each)
}

func medianOf(rounds []measurement, figure func(measurement) float64) float64 {
	each := make([]float64, len(rounds))
	for i, m := range rounds {
		each[i] = figure(m)
	}
	return median(each)
}

// spread is how far a figure's rounds lie apart, as a share of their median.
func spread(rounds []measurement, figure func(measurement) float64) float64 {
	low, high := figure(rounds[0]), figure(rounds[0])
	for _, m := range rounds[1:] {
		low, high = min(low, figure(m)), max(high, figure(m))
	}
	return (high - low) / medianOf(rounds, figure)
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
