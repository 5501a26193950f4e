//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// The servers that redis-benchmark measures.
const (
	redis     = "redis"
	exampleKV = "wireline-kv"
)

// question is a test of redis-benchmark, with the depth of its pipelines.
type question struct {
	test     string
	pipeline int
	rate     float64 // requests per second of a measurement, about
}

var questions = []question{
	{"ping_inline", 1, 100_000},
	{"ping_mbulk", 1, 100_000},
	{"set", 1, 100_000},
	{"get", 1, 100_000},
	{"ping_inline", 16, 1_500_000},
	{"ping_mbulk", 16, 1_500_000},
	{"set", 16, 1_500_000},
	{"get", 16, 1_500_000},
}

const kvConns = 50

// load describes a question as the tables do.
func (q question) load() load {
	return load{
		name:   fmt.Sprintf("%s-p%d", q.test, q.pipeline),
		conns:  kvConns,
		depth:  q.pipeline,
		ratios: []comparison{{perCPUFigure, redis}},
	}
}

// kv holds the programs of this part.
type kv struct{ example, redis, benchmark string }

// prepareKV builds the example in dir and finds the other programs. It returns a reason if
// something is missing.
func (b *bench) prepareKV(ctx context.Context, dir string) (reason string, err error) {
	if b.kv.redis, err = exec.LookPath("redis-server"); err != nil {
		return "no redis-server on the path", nil
	}
	if b.kv.benchmark, err = exec.LookPath("redis-benchmark"); err != nil {
		return "no redis-benchmark on the path", nil
	}
	if _, err := os.Stat(filepath.Join(b.kvSource, "go.mod")); err != nil {
		return fmt.Sprintf("no example: %v", err), nil
	}
	program := filepath.Join(dir, "kv")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	cmd.Dir = b.kvSource
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", b.kvSource, err, out)
	}
	b.kv.example = program
	return "", nil
}

// runKV measures both servers with every question in each round. They run through all rounds.
func (b *bench) runKV(ctx context.Context, r *results) (err error) {
	if b.kv.example == "" {
		return nil
	}
	var up []*running
	defer func() {
		for _, s := range up {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, p := range b.kv.servers() {
		started, err := b.startKV(ctx, p)
		if err != nil {
			return fmt.Errorf("kv: start %s: %w", p.name, err)
		}
		up = append(up, started)
	}
	for _, q := range questions {
		result, err := b.ask(ctx, q, up)
		if err != nil {
			return fmt.Errorf("kv: %s: %w", q.test, err)
		}
		r.KV = append(r.KV, result)
	}
	printKV(b.out, r.KV)
	return nil
}

// kvServer is how to start a server on a port.
type kvServer struct {
	name, path string
	args       func(port string) []string
}

// servers returns both servers. Redis keeps everything in memory only, as the example does.
func (k kv) servers() []kvServer {
	return []kvServer{
		{redis, k.redis, func(port string) []string {
			return []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"}
		}},
		{exampleKV, k.example, func(port string) []string {
			return []string{"-addr", "127.0.0.1:" + port}
		}},
	}
}

// startKV starts one of them.
func (b *bench) startKV(ctx context.Context, s kvServer) (*running, error) {
	return b.startAt(ctx, s.name, s.path, []int{b.serverCore}, func(at netip.AddrPort) ([]string, error) {
		return s.args(strconv.Itoa(int(at.Port()))), nil
	})
}

func (b *bench) ask(ctx context.Context, q question, up []*running) (loadResult, error) {
	var turns []turn
	for _, r := range up {
		turns = append(turns, turn{r.name, func(ctx context.Context) (measurement, error) {
			return b.redisBenchmark(ctx, q, r)
		}})
	}
	l := q.load()
	rounds, err := b.interleave(ctx, l.name, turns)
	if err != nil {
		return loadResult{}, err
	}
	return summarize(l, names(turns), rounds), nil
}

// redisBenchmark runs it once on the load's core. The wall time is that of its report, without
// its own start; the CPU time includes connecting.
func (b *bench) redisBenchmark(ctx context.Context, q question, r *running) (m measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.duration+taskBound)
	defer cancel()
	requests := int64(q.rate * b.duration.Seconds())
	cmd := command(ctx, 1, b.kv.benchmark, q.args(r.address, requests)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, nil

	before, err := readClocks(r.cmd.Process.Pid, false, b.bothCores())
	if err != nil {
		return m, err
	}
	if err := startOn([]int{b.loadCore}, cmd); err != nil {
		return m, err
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	if err != nil {
		return m, fmt.Errorf("redis-benchmark: %w", err)
	}
	after, err := readClocks(r.cmd.Process.Pid, false, b.bothCores())
	if err != nil {
		return m, err
	}
	m = after.since(before, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	m.Requests = requests
	return m, readReport(out.Bytes(), &m)
}

func (q question) args(address netip.AddrPort, requests int64) []string {
	return []string{
		"-h", address.Addr().String(), "-p", strconv.Itoa(int(address.Port())),
		"-c", strconv.Itoa(kvConns), "-n", strconv.FormatInt(requests, 10),
		"-P", strconv.Itoa(q.pipeline), "-t", q.test, "--csv",
	}
}

// readReport parses rate and latencies from redis-benchmark's CSV: a line of names and a line
// of values.
func readReport(text []byte, m *measurement) error {
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(lines) != 2 {
		return fmt.Errorf("redis-benchmark report: %q: %w", text, err)
	}
	values := make(map[string]float64)
	for i, name := range lines[0][1:] {
		if values[name], err = strconv.ParseFloat(lines[1][1+i], 64); err != nil {
			return fmt.Errorf("redis-benchmark report: %s: %w", name, err)
		}
	}
	millis := func(name string) time.Duration { return time.Duration(values[name] * float64(time.Millisecond)) }
	m.P50, m.P99, m.Max = millis("p50_latency_ms"), millis("p99_latency_ms"), millis("max_latency_ms")
	if values["rps"] <= 0 {
		return fmt.Errorf("redis-benchmark report without a rate: %q", text)
	}
	m.Wall = time.Duration(float64(m.Requests) / values["rps"] * float64(time.Second))
	return nil
}
