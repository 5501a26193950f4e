//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mostMembers is how many clients the loads of a broadcast have.
const mostMembers = 10_000

// The lines that a server of the works publishing and sending obeys. Any other line makes its
// client a member, whose key is memberKey of its number.
var (
	publishCmd = []byte("publish ") // to all members, before it is sent back
	gatherCmd  = []byte("gather ")  // a number: members enter as many rooms, roomMembers in each
)

func memberKey(number int) string { return fmt.Sprintf("client %d", number) }

// memberKeys returns the keys of the first n members. They stand in memory one behind the other: a
// server that has just read a key from somewhere finds it in the processor's cache, too.
func memberKeys(n int) []string {
	var text strings.Builder
	for i := range n {
		text.WriteString(memberKey(i))
	}
	all, rest := make([]string, n), text.String()
	for i := range all {
		size := len(memberKey(i))
		all[i], rest = rest[:size], rest[size:]
	}
	return all
}

// audience is the load of a broadcast: members that only read, and one more client that has the
// server send a line to all of them. It waits until the server has done so, and only then do the
// members read: they do not disturb the server while it writes, and it is idle while they read.
type audience struct {
	task
	members   []*client
	publisher *client
	buf       []byte

	rounds  int
	latency histogram // from sending a line until the server has sent it to all
}

// measureAudience warms the server up, then measures.
func measureAudience(t task) (m measurement, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // next to nothing is allocated
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a, err := newAudience(t)
	defer a.close()
	if err == nil {
		err = a.run(a.Warmup)
	}
	if err != nil {
		return m, err
	}
	warmed := a.rounds
	a.rounds, a.latency = 0, histogram{}
	before, err := readClocks(a.Server, a.Forks, a.Cores)
	if err != nil {
		return m, err
	}
	if err := a.run(a.Measure); err != nil {
		return m, err
	}
	after, err := readClocks(a.Server, a.Forks, a.Cores)
	if err != nil {
		return m, err
	}
	m = after.since(before, 0)
	m.Requests = int64(a.rounds) * int64(a.Conns)
	m.Bytes = m.Requests * lineSize
	m.Warmup = float64(warmed) * float64(a.Conns) / max(a.Warmup.Seconds(), 1e-9)
	m.P50, m.P99, m.Max = a.latency.quantile(0.50), a.latency.quantile(0.99), a.latency.longest
	return m, nil
}

// newAudience connects all clients. The caller closes the audience, also after an error.
func newAudience(t task) (*audience, error) {
	a := &audience{task: t, buf: make([]byte, 2*lineSize)}
	for id := range t.Conns {
		c, err := a.open(id)
		if err != nil {
			return a, err
		}
		a.members = append(a.members, c)
		if err := a.ask(c, lineBurst(id, 0, 1)); err != nil {
			return a, fmt.Errorf("first line: %w", err)
		}
	}
	var err error
	a.publisher, err = a.open(t.Conns)
	return a, err
}

func (a *audience) open(id int) (*client, error) {
	fd, err := connect(a.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.Address, err)
	}
	return &client{id: id, fd: fd}, nil
}

func (a *audience) close() {
	for _, c := range a.members {
		_ = unix.Close(c.fd)
	}
	if a.publisher != nil {
		_ = unix.Close(a.publisher.fd)
	}
}

// run publishes for that time, and at least once.
func (a *audience) run(long time.Duration) error {
	for end := time.Now().Add(long); ; {
		if err := a.publish(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return nil
		}
	}
}

// publish has the server send a line to all members, and has them read it.
func (a *audience) publish() error {
	line := commandLine(publishCmd, a.rounds)
	began := time.Now()
	if err := a.ask(a.publisher, line); err != nil {
		return fmt.Errorf("line to all: %w", err)
	}
	a.latency.add(time.Since(began))
	for _, c := range a.members {
		c.expect(line)
		if err := a.await(c); err != nil {
			return err
		}
	}
	a.rounds++
	return nil
}

// commandLine makes a line that tells the server what to do.
func commandLine(cmd []byte, number int) []byte {
	text := fmt.Sprintf("%s%d ", cmd, number)
	return []byte(text + strings.Repeat("x", lineSize-1-len(text)) + "\n")
}

// ask sends a line and waits until it has come back.
func (a *audience) ask(c *client, line []byte) error {
	c.expect(line)
	c.sent = 0
	if err := c.send(); err != nil {
		return err
	}
	if c.unsent() {
		return errors.New("the server does not read")
	}
	return a.await(c)
}

// expect makes line the one that c has to read next.
func (c *client) expect(line []byte) {
	c.bursts[c.turn], c.sent, c.got = line, len(line), 0
}

// await polls until c has read its line.
func (a *audience) await(c *client) error {
	for began := time.Now(); ; {
		whole, err := c.receive(a.buf)
		if err != nil || whole {
			return err
		}
		if time.Since(began) > a.Stall {
			return fmt.Errorf("no line for client %d for %v", c.id, a.Stall)
		}
	}
}

// roomMembers is how many members a room has.
const roomMembers = 5

// measureRooms measures what the server needs for members of rooms.
func measureRooms(t task) (f footprint, err error) {
	output := os.NewFile(heapFD, "the server's output")
	defer output.Close()
	a, err := newAudience(t)
	defer a.close()
	if err != nil {
		return f, err
	}
	before, err := footprintNow(t, output)
	if err != nil {
		return f, err
	}
	if err := a.ask(a.publisher, commandLine(gatherCmd, t.Rooms)); err != nil {
		return f, err
	}
	f, err = footprintNow(t, output)
	f.Conns = t.Rooms * roomMembers
	f.Before, f.HeapBefore, f.FilesBefore = before.After, before.HeapAfter, before.FilesAfter
	return f, err
}
