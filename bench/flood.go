//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	floodConns = 50 // connections at a time

	// floodBound is how long a flood may take for a connection. It has no core to itself, and
	// starves where other programs use it too.
	floodBound = 30 * time.Second

	// counterFD is the memory that a flood inherits. It counts its connections there.
	counterFD = 3
)

// flood is a process that makes handshakes beside a load, on the same core. It has the core
// whenever the load waits for replies, and no longer: the latency that the load measures is not
// that of waiting for its own core.
type flood struct {
	process running
	made    *atomic.Int64
}

// startFlood starts a flood beside the load of t.
func startFlood(t task) (*flood, error) {
	t.Address, t.Conns, t.Stall = t.FloodAddress, floodConns, floodBound
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("made", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "made")
	defer file.Close()
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, err
	}
	made, err := sharedCounter(fd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := command(ctx, 1, self, cmdFlood, string(text))
	cmd.ExtraFiles = []*os.File{file} // as counterFD
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return &flood{running{name: "flood", cmd: cmd, cancel: cancel}, made}, nil
}

func sharedCounter(fd int) (*atomic.Int64, error) {
	memory, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return (*atomic.Int64)(unsafe.Pointer(&memory[0])), nil
}

// cpu is the time that the flood has used.
func (f *flood) cpu() (time.Duration, error) { return processCPU(f.process.cmd.Process.Pid) }

// runFlood is the process.
func runFlood(t task) (struct{}, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	made, err := sharedCounter(counterFD)
	if err == nil {
		err = runWhenIdle()
	}
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, (&handshakes{task: t, made: made}).run(ctx)
}

// runWhenIdle lets other processes go first, always. Threads that start later inherit that from
// the one that starts them.
func runWhenIdle() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetAttr(id, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
			return fmt.Errorf("sched_setattr: %w", err)
		}
	}
	return nil
}

// flooded measures the clients beside a flood of handshakes. before is the measurement without
// it.
func (g *generator) flooded(before measurement) (m measurement, err error) {
	f, err := startFlood(g.task)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.process.stop()) }()
	if err := g.runBesideFlood(f, g.Warmup); err != nil {
		return m, err
	}
	made := f.made.Load()
	used, err := f.cpu()
	if err != nil {
		return m, err
	}
	if m, err = g.measureWhile(func() error { return g.runBesideFlood(f, g.Measure) }); err != nil {
		return m, err
	}
	usedAfter, err := f.cpu()
	m.Foreign = max(0, m.Foreign-(usedAfter-used).Seconds()/m.Wall.Seconds())
	m.Handshakes = f.made.Load() - made
	m.Before = &before
	return m, err
}

// runBesideFlood runs for that time, and until the flood has made a connection.
func (g *generator) runBesideFlood(f *flood, long time.Duration) error {
	g.tick()
	end, made := g.now+long, f.made.Load()
	for {
		if err := g.runUntil(end); err != nil {
			return err
		}
		if f.made.Load() > made {
			return nil
		}
		if g.now > end+floodBound {
			return fmt.Errorf("no handshake beside the load for %v", g.now-end+long)
		}
		if err := g.poll(); err != nil {
			return err
		}
	}
}
