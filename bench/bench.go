//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stallBound = 5 * time.Second        // a load gives up without a reply for so long
	settleTime = 500 * time.Millisecond // before memory is looked at

	// quietEnough is the share of a core that others may take in a measurement
	// before it is tried again.
	quietEnough = 0.10
)

// bench is one run.
type bench struct {
	options
	out, progress io.Writer

	self                 string // this program
	epollProgram         string // the compiled C server
	serverCore, loadCore int
}

// run measures everything that the options ask for, prints the tables as they
// come, and writes the file of results.
func (b *bench) run(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.serverCore, b.loadCore, err = twoCores(); err != nil {
		return err
	}
	if err := b.checkFiles(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	r := &results{Machine: thisMachine(b.serverCore, b.loadCore), Settings: b.settings()}
	if r.Skipped, err = b.prepare(ctx, dir); err != nil {
		return err
	}
	r.printHead(b.out)
	if err := b.runLoads(ctx, r); err != nil {
		return err
	}
	if err := b.runMemory(ctx, r); err != nil {
		return err
	}
	return r.writeJSON(b.json)
}

// checkFiles tells early what the idle clients would run into at the end.
func (b *bench) checkFiles() error {
	const others = 64
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if need := uint64(b.idle + others); files.Max < need {
		return fmt.Errorf("-idle %d needs %d open files and the limit is %d: choose fewer or raise it", b.idle, need, files.Max)
	}
	return nil
}

func (b *bench) settings() settings {
	return settings{
		Rounds:    b.rounds,
		Duration:  b.duration.Seconds(),
		Warmup:    b.warmup.Seconds(),
		LineBytes: lineSize,
	}
}

// prepare compiles the C server, or leaves it out where that is not possible.
func (b *bench) prepare(ctx context.Context, dir string) (skipped map[string]string, err error) {
	isC := func(s server) bool { return s.serve == nil }
	if !slices.ContainsFunc(b.servers, isC) {
		return nil, nil
	}
	b.epollProgram, err = compileEpoll(ctx, dir)
	if errors.Is(err, errNoCompiler) {
		b.servers = slices.DeleteFunc(slices.Clone(b.servers), isC)
		return map[string]string{cEpoll: err.Error()}, nil
	}
	return nil, err
}

func (b *bench) runLoads(ctx context.Context, r *results) error {
	for _, l := range b.loads {
		result, err := b.runLoad(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		r.Loads = append(r.Loads, result)
		result.print(b.out)
	}
	return nil
}

// runLoad starts all servers, lets each of them have its turn in every round,
// and stops them. They stay up over the rounds, as servers do, so that their
// heaps and pools are warm; every load starts them anew, so that what one load
// has left in them, such as the buffers of a thousand clients, does not show
// in the figures of the next. A server that has no turn has no clients either.
func (b *bench) runLoad(ctx context.Context, l load) (result loadResult, err error) {
	up := make([]*running, 0, len(b.servers))
	names := make([]string, 0, len(b.servers))
	defer func() {
		for _, r := range up {
			err = errors.Join(err, r.stop())
		}
	}()
	for _, s := range b.servers {
		r, err := b.startServer(ctx, s)
		if err != nil {
			return result, err
		}
		up, names = append(up, r), append(names, s.name)
	}
	rounds := make(map[string][]measurement)
	for round := range b.rounds {
		fmt.Fprintf(b.progress, "%s: round %d of %d\n", l.name, round+1, b.rounds)
		for _, r := range rotated(up, round) {
			m, err := b.measure(ctx, l, r)
			if err != nil {
				return result, fmt.Errorf("%s: %w", r.name, err)
			}
			rounds[r.name] = append(rounds[r.name], m)
		}
	}
	return summarize(l, names, rounds), nil
}

// rotated begins with another element each round, so that no server always
// follows the same one.
func rotated[T any](all []T, round int) []T {
	first := round % len(all)
	return append(slices.Clone(all[first:]), all[:first]...)
}

// measure takes the figures of one server. It tries again while other work on
// the machine is in the way, a few times, and keeps the quietest try: chosen by
// what others did, never by how the server looked.
func (b *bench) measure(ctx context.Context, l load, r *running) (quietest measurement, err error) {
	for try := range b.tries {
		var m measurement
		if err := b.runTask(ctx, cmdLoad, b.task(l, r), &m); err != nil {
			return m, err
		}
		if try == 0 || m.Foreign < quietest.Foreign {
			quietest = m
		}
		if quietest.Foreign <= quietEnough {
			break
		}
	}
	return quietest, nil
}

func (b *bench) task(l load, r *running) task {
	return task{
		Address: r.address,
		Server:  r.cmd.Process.Pid,
		Cores:   slices.Compact([]int{b.serverCore, b.loadCore}),
		Conns:   l.conns,
		Depth:   l.depth,
		Warmup:  b.warmup,
		Measure: b.duration,
		Stall:   stallBound,
	}
}

// runMemory gives every server a fresh process: memory that another load had
// made it take would hide what its idle clients need.
func (b *bench) runMemory(ctx context.Context, r *results) error {
	if b.idle == 0 {
		return nil
	}
	fmt.Fprintf(b.progress, "idle: %d connections\n", b.idle)
	for _, s := range b.servers {
		f, err := b.footprint(ctx, s)
		if err != nil {
			return fmt.Errorf("idle: %s: %w", s.name, err)
		}
		r.Memory = append(r.Memory, memoryResult{Server: s.name, PerConn: f.perConn(), footprint: f})
	}
	printMemory(b.out, r.Memory)
	return nil
}

func (b *bench) footprint(ctx context.Context, s server) (f footprint, err error) {
	r, err := b.startServer(ctx, s)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	t := b.task(load{conns: b.idle, depth: 1}, r)
	t.Warmup = settleTime
	err = b.runTask(ctx, cmdIdle, t, &f)
	return f, err
}
