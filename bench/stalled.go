//go:build linux

package main

import (
	"fmt"
	"time"
)

// stalled connects one more client, for which the server sleeps, and measures the others until
// its line is answered. before is the measurement without it.
func (g *generator) stalled(before measurement) (measurement, error) {
	line := fmt.Appendf(nil, "%s%v\n", sleepCmd, g.Sleep)
	sleeper := &client{id: len(g.clients), once: true, bursts: [2][]byte{line}}
	var slept time.Duration
	m, err := g.measureWhile(func() (err error) {
		slept, err = g.runBeside(sleeper)
		return err
	})
	if err == nil && slept < g.Sleep {
		err = fmt.Errorf("the reply to %q came after %v", line, slept)
	}
	m.Before = &before
	return m, err
}

// runBeside runs until one more client has the reply to its only line, and returns how long
// that took.
func (g *generator) runBeside(c *client) (time.Duration, error) {
	if err := g.open(c); err != nil {
		return 0, err
	}
	g.clients = append(g.clients, c)
	g.waiting++
	if err := c.send(); err != nil {
		return 0, err
	}
	for !c.answered() {
		if err := g.poll(); err != nil {
			return 0, err
		}
		if g.now-c.since > g.Sleep+g.Stall {
			return 0, fmt.Errorf("no reply to %q for %v", c.bursts[0], g.now-c.since)
		}
	}
	return g.now - c.since, nil
}
