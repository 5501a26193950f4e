//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	stallBound = 5 * time.Second        // a load fails after this time without a reply
	settleTime = 500 * time.Millisecond // before memory is measured

	// quietEnough is the share of a core that other processes may use during a measurement.
	// Above it, the measurement is repeated.
	quietEnough = 0.10
)

// bench is one run.
type bench struct {
	options
	out, progress io.Writer

	self                 string            // this program
	programs             map[string]string // paths: of compiled C servers by source, of installed ones by name
	dir                  string            // for temporary files of this run
	certificate          string            // the file of the servers' certificate and key
	kv                   kv
	serverCore, loadCore int
}

// run measures all that the options ask for, prints each table when it is complete, and writes
// the file of results.
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
	if err := b.runTLSMemory(ctx, r); err != nil {
		return err
	}
	if err := b.runPairs(ctx, r); err != nil {
		return err
	}
	if err := b.runRooms(ctx, r); err != nil {
		return err
	}
	if err := b.runKV(ctx, r); err != nil {
		return err
	}
	return r.writeJSON(b.json)
}

// checkFiles checks at the start whether the idle clients of the last part can be opened.
func (b *bench) checkFiles() error {
	limit, err := fileLimit()
	if err != nil {
		return err
	}
	clients := map[string]int{"-idle": b.idle, "-tls-idle": b.tlsIdle, "-rooms": roomsClients(b.rooms)}
	for _, l := range b.loads {
		clients[l.name] = l.conns
	}
	for name, count := range clients {
		if need := count + otherFiles; limit < need {
			return fmt.Errorf("%s: %d clients need %d open files and the limit is %d: choose fewer or raise it", name, count, need, limit)
		}
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

// prepare builds the servers that are not in this program, and prints what is left out because
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

// prepareServers compiles the C servers, and finds the installed programs.
func (b *bench) prepareServers(ctx context.Context, dir string) (skipped map[string]string, err error) {
	b.dir = dir
	skipped = make(map[string]string)
	b.programs = make(map[string]string)
	b.certificate = filepath.Join(dir, "certificate.pem")
	if err := writeCertificate(b.certificate); err != nil {
		return nil, err
	}
	for _, s := range b.servers {
		if s.binary != "" {
			known, err := s.isKnown(ctx)
			if err != nil {
				return nil, err
			}
			if !known {
				skipped[s.name] = fmt.Sprintf("%s has no %s", s.binary, s.nameThere)
			}
			continue
		}
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

// runLoad starts all servers that can do the load's work, measures each of them in every
// round, and stops them. The servers run through all rounds, so that their heaps and pools are
// warm, unless the load asks for fresh ones. Each load starts new processes, so that what one
// load has left in a server, such as the buffers of a thousand clients, does not show in the
// figures of the next. While one server is measured, the others have no clients.
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

// cores returns the cores on which the server and the load of l run.
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

// runMemory measures the memory of the servers with idle clients.
func (b *bench) runMemory(ctx context.Context, r *results) (err error) {
	r.Memory, err = b.footprints(ctx, load{name: "idle", work: echoing, conns: b.idle, depth: 1})
	if err == nil {
		printMemory(b.out, "idle", "after one line each", r.Memory)
	}
	return err
}

// runTLSMemory measures the memory of the servers with idle clients over TLS, after a line, and
// after a frame if that was asked for.
func (b *bench) runTLSMemory(ctx context.Context, r *results) (err error) {
	r.TLSMemory, err = b.footprints(ctx, load{name: "tls-idle", tls: true, work: echoing, conns: b.tlsIdle, depth: 1})
	if err != nil {
		return err
	}
	printMemory(b.out, "tls-idle", "over TLS, after one line each", r.TLSMemory)
	if !b.tlsIdleFrame {
		return nil
	}
	l := load{name: "tls-idle-frame", tls: true, work: framing, conns: b.tlsIdle, frame: 16 << 10}
	r.TLSMemoryFrame, err = b.footprints(ctx, l)
	if err == nil {
		printMemory(b.out, l.name, "over TLS, after one frame of 16 KiB each", r.TLSMemoryFrame)
	}
	return err
}

// runPairs measures the memory of the proxies with idle pairs.
func (b *bench) runPairs(ctx context.Context, r *results) (err error) {
	r.Pairs, err = b.footprints(ctx, load{name: "pairs", work: relaying, conns: b.pairs, depth: 1})
	if err == nil {
		printPairs(b.out, r.Pairs)
	}
	return err
}

// membersRooms is how many rooms a client is in, while the memory of memberships is measured.
const membersRooms = 50

// runRooms measures the memory of members of rooms.
func (b *bench) runRooms(ctx context.Context, r *results) (err error) {
	l := load{name: "rooms", work: gathering, rooms: b.rooms, conns: roomsClients(b.rooms)}
	r.Rooms, err = b.footprints(ctx, l)
	if err == nil {
		printRooms(b.out, l.conns, r.Rooms)
	}
	return err
}

// roomsClients is how many clients so many rooms need.
func roomsClients(rooms int) int {
	if rooms == 0 {
		return 0
	}
	return max(rooms*roomMembers/membersRooms, roomMembers)
}

// footprints starts a fresh process for each measurement: memory from another load would hide
// what the idle clients need.
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
		all = append(all, summarizeMemory(s.name, rounds))
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
	inherited := r.upstream
	if l.tls || l.rooms > 0 {
		t.Heap, inherited = true, r.output
	}
	subcommand := cmdIdle
	if l.rooms > 0 {
		subcommand = cmdRooms
	}
	err = b.runTask(ctx, subcommand, t, loadCores, inherited, &f)
	return f, err
}
