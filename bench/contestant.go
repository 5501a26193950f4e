//go:build linux

package main

import (
	"context"
	"errors"
)

// contestant is a server under a load. It is started when it is first needed.
type contestant struct {
	bench   *bench
	load    load
	server  server
	running *running // nil while it is not started
}

func (c *contestant) measure(ctx context.Context) (m measurement, err error) {
	serverCores, loadCores := c.bench.cores(c.load)
	if c.running == nil {
		if c.running, err = c.bench.startFor(ctx, c.server, c.load, serverCores); err != nil {
			return m, err
		}
	}
	stopScraper := func() error { return nil }
	if c.server.administered != nil {
		if stopScraper, err = c.bench.startScraper(ctx, c.running.second, loadCores); err != nil {
			return m, err
		}
	}
	err = c.bench.runTask(ctx, c.load.subcommand(), c.bench.task(c.load, c.running), loadCores, c.running.upstream, &m)
	if err = errors.Join(err, stopScraper()); err != nil {
		return m, err
	}
	if c.load.fresh {
		err = c.stop()
	}
	return m, err
}

func (c *contestant) stop() error {
	if c.running == nil {
		return nil
	}
	r := c.running
	c.running = nil
	return r.stop()
}

// task returns the task for a load process against a running server.
func (b *bench) task(l load, r *running) task {
	t := task{
		Address: r.address,
		Server:  r.cmd.Process.Pid,
		Forks:   r.forks,
		Relayed: r.upstream != nil,
		Cores:   b.bothCores(),
		Conns:   l.conns,
		Depth:   l.depth,
		Frame:   l.frame,
		TLS:     l.tls,
		Wait:    l.shared || l.floods,
		Churn:   l.churn,
		Reset:   l.reset,
		Resume:  l.resumes,
		Bulk:    l.bulk,
		Rooms:   l.rooms,
		Warmup:  max(b.warmup, l.warmup),
		Measure: b.duration,
		Stall:   stallBound,
	}
	if l.floods {
		t.FloodAddress = r.address
	}
	if l.plain {
		t.Address, t.TLS = r.second, false
	}
	if l.stalls {
		t.Sleep = b.sleep
	}
	return t
}
