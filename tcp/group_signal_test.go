//go:build unix

package tcp_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// One signal stops all servers of a process, and a second one cuts them all.
func TestSecondSignalCutsAGroup(t *testing.T) {
	t.Parallel()
	c := startChild(t, childSpec{
		Server: "group", Services: []string{"one", "two"},
		DrainTimeout: time.Hour, GraceDelay: 100 * time.Millisecond,
	})
	one, two := c.dialService("one"), c.dialService("two")
	send(t, one, "hold\n")
	exchange(t, two, "a\n")
	c.wait("holding")
	c.signal(syscall.SIGTERM)
	receiveAll(t, two, "")
	demand(t, c.wait("drained"), "service", "two")
	c.signal(syscall.SIGINT)
	receiveReset(t, one)
	if code := c.exitCode(); code != exitCut {
		t.Errorf("exit code %d, want that of ErrCut", code)
	}
	for _, line := range c.find("drained") {
		want := map[string]any{"one": 1.0, "two": 0.0}[fmt.Sprint(line["service"])]
		demand(t, line, "cut", want)
	}
	demand(t, c.wait("draining"), "grace_s", 0.1)
	if text := fmt.Sprint(c.find("failed")); !strings.Contains(text, "service one: ") || strings.Contains(text, "service two: ") {
		t.Errorf("Run returned %s", text)
	}
}

// With OnReload a SIGHUP does not stop the servers, neither before nor in the drain.
func TestReload(t *testing.T) {
	c := startChild(t, childSpec{Server: "group", Services: []string{"one"}, DrainTimeout: patience, Reload: "add"})
	busy := c.dialService("one")
	exchange(t, busy, "a\n")
	c.signal(syscall.SIGHUP)
	exchange(t, c.dialService("added"), "b\n")
	exchange(t, busy, "a again\n")
	send(t, busy, "hold\n")
	c.wait("holding")
	c.signal(syscall.SIGTERM)
	c.wait("draining")
	c.signal(syscall.SIGHUP)
	time.Sleep(100 * time.Millisecond) // nothing comes of it
	c.release()
	receiveAll(t, busy, "hold\n")
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
	if n := len(c.find("reloading")); n != 1 {
		t.Errorf("%d reloads", n)
	}
	if n := len(c.find("drained")); n != 2 {
		t.Errorf("%d servers have drained", n)
	}
}

// A reload that does not end holds up no stop.
func TestStopInAReload(t *testing.T) {
	c := startChild(t, childSpec{Server: "group", Services: []string{"one"}, DrainTimeout: patience, Reload: "hang"})
	conn := c.dialService("one")
	exchange(t, conn, "a\n")
	for range 3 {
		c.signal(syscall.SIGHUP)
	}
	c.wait("reloading")
	exchange(t, conn, "b\n")
	c.signal(syscall.SIGTERM)
	receiveAll(t, conn, "")
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
	if n := len(c.find("reloading")); n != 1 {
		t.Errorf("%d reloads at a time", n)
	}
}
