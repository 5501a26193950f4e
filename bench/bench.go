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

	self                 string            // this program
	programs             map[string]string // the compiled C servers, by source; those that are installed, by name
	dir                  string            // for what only this run needs
	kv                   kv
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
	if err := raiseFiles(); err != nil {
		return err
	}

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
	if err := b.runPairs(ctx, r); err != nil {
		return err
	}
	if err := b.runKV(ctx, r); err != nil {
		return err
	}
	return r.writeJSON(b.json)
}

// checkFiles tells early what the idle clients would run into at the end.
func (b *bench) checkFiles() error {
	limit, err := fileLimit()
	if err != nil {
		return err
	}
	if need := b.idle + otherFiles; limit < need {
		return fmt.Errorf("-idle %d needs %d open files and the limit is %d: choose fewer or raise it", b.idle, need, limit)
	}
	if need := filesPerPair*b.pairs + otherFiles; limit < need {
		return fmt.Errorf("-pairs %d needs %d open files and the limit is %d: choose fewer or raise it", b.pairs, need, limit)
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

// prepare builds what is not in this program, or tells what is left out because
// that is not possible.
func (b *bench) prepare(ctx context.Context, dir string) (skipped map[string]string, err error) {
	skipped, err = b.prepareServers(ctx, dir)
	if err != nil || b.kvSource == "" {
		return skipped, err
	}
	reason, err := b.prepareKV(ctx, dir)
	if reason != "" {
		skipped["kv"] = reason
	}
	return skipped, err
}

// prepareServers compiles the C servers, and finds the programs.
func (b *bench) prepareServers(ctx context.Context, dir string) (skipped map[string]string, err error) {
	b.dir = dir
	skipped = make(map[string]string)
	b.programs = make(map[string]string)
	for _, s := range b.servers {
		if s.program != nil {
			reason, err := b.findProgram(ctx, s, dir)
			if err != nil {
				return nil, err
			}
			if reason != "" {
				skipped[s.name] = reason
			}
			continue
		}
		if !s.isC() || b.programs[s.source] != "" {
			continue
		}
		b.programs[s.source], err = compile(ctx, dir, s.source)
		if errors.Is(err, errNoCompiler) {
			skipped[s.name] = err.Error()
		} else if err != nil {
			return nil, err
		}
	}
	b.servers = slices.DeleteFunc(slices.Clone(b.servers), func(s server) bool { return skipped[s.name] != "" })
	return skipped, nil
}

func (b *bench) runLoads(ctx context.Context, r *results) error {
	for _, l := range b.loads {
		result, err := b.runLoad(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if len(result.Servers) == 0 {
			continue
		}
		r.Loads = append(r.Loads, result)
		result.print(b.out)
	}
	return nil
}

// runLoad starts all servers that do the load's work, lets each of them have
// its turn in every round, and stops them. They stay up over the rounds, as
// servers do, so that their heaps and pools are warm, if the load does not ask
// for fresh ones; every load starts them anew, so that what one load has left
// in them, such as the buffers of a thousand clients, does not show in the
// figures of the next. A server that has no turn has no clients either.
func (b *bench) runLoad(ctx context.Context, l load) (result loadResult, err error) {
	var turns []turn
	for _, s := range b.servers {
		if s.serves(l) {
			c := &contestant{bench: b, load: l, server: s}
			defer func() { err = errors.Join(err, c.stop()) }()
			turns = append(turns, turn{s.name, c.measure})
		}
	}
	rounds, err := b.interleave(ctx, l.name, turns)
	if err != nil {
		return result, err
	}
	return summarize(l, names(turns), rounds), nil
}

// cores returns where the server and where the load of l run.
func (b *bench) cores(l load) (server, load []int) {
	if l.shared {
		both := b.bothCores()
		return both, both
	}
	return []int{b.serverCore}, []int{b.loadCore}
}

func (b *bench) bothCores() []int {
	return slices.Compact([]int{b.serverCore, b.loadCore})
}

// runMemory measures the servers with clients that have nothing more to say.
func (b *bench) runMemory(ctx context.Context, r *results) (err error) {
	r.Memory, err = b.footprints(ctx, load{name: "idle", work: echoing, conns: b.idle, depth: 1})
	if err == nil {
		printMemory(b.out, r.Memory)
	}
	return err
}

// runPairs does the same with proxies.
func (b *bench) runPairs(ctx context.Context, r *results) (err error) {
	r.Pairs, err = b.footprints(ctx, load{name: "pairs", work: relaying, conns: b.pairs, depth: 1})
	if err == nil {
		printPairs(b.out, r.Pairs)
	}
	return err
}

// footprints gives every server a fresh process each time: memory that another
// load had made it take would hide what its idle clients need.
func (b *bench) footprints(ctx context.Context, l load) (all []memoryResult, err error) {
	if l.conns == 0 {
		return nil, nil
	}
	turns := slices.DeleteFunc(slices.Clone(b.servers), func(s server) bool { return !s.serves(l) || s.forks })
	rounds := make(map[string][]footprint)
	for round := range b.rounds {
		fmt.Fprintf(b.progress, "%s: round %d of %d\n", l.name, round+1, b.rounds)
		for _, s := range rotated(turns, round) {
			f, err := b.footprint(ctx, s, l)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", l.name, s.name, err)
			}
			rounds[s.name] = append(rounds[s.name], f)
		}
	}
	for _, s := range turns {
		all = append(all, summarizeMemory(s.name, rounds[s.name]))
	}
	return all, nil
}

func (b *bench) footprint(ctx context.Context, s server, l load) (f footprint, err error) {
	serverCores, loadCores := b.cores(l)
	r, err := b.startFor(ctx, s, l, serverCores)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	t := b.task(l, r)
	t.Warmup = settleTime
	err = b.runTask(ctx, cmdIdle, t, loadCores, r.upstream, &f)
	return f, err
}
