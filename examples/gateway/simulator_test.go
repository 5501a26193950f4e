package main

import (
	"context"
	"strings"
	"testing"
)

// device runs "gateway device" until the end of the test, and returns its output and its exit code.
func (g *running) device(args ...string) (out *journal, exited <-chan int) {
	ctx, cancel := context.WithCancel(context.Background())
	out = newJournal()
	c := make(chan int, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c <- run(ctx, append([]string{"device", "-address", g.devices}, args...), nil, out, out)
	}()
	g.t.Cleanup(func() {
		cancel()
		<-done
	})
	return out, c
}

func TestSimulator(t *testing.T) {
	g := start(t)
	out, _ := g.device("-id", "boiler", "-every", "1h", "-retry", "1ms")
	out.await(t, "message 2 is acknowledged")
	for _, test := range []struct {
		command string
		want    response
	}{
		{"get temperature", response{200, "61.5\n"}},
		{"set target 65.5", response{200, "ok\n"}},
		{"get target", response{200, "65.5\n"}},
		{"set target high", response{409, ""}},
		{"dance", response{409, ""}},
		{"reboot", response{503, ""}},
	} {
		got := await(t, "the answer", g.command("boiler/command", test.command))
		if got.status != test.want.status || test.want.body != "" && got.body != test.want.body {
			t.Errorf("%s: %v", test.command, got)
		}
	}
	out.await(t, "reboot; again in 1ms\nboiler is logged in") // it comes again
	mute, exited := g.device("-id", "boiler", "-mute")
	mute.await(t, "boiler is logged in")
	out.await(t, "newer connection has logged in with the id (code 6)") // and not after that
	if got := await(t, "the answer", g.command("boiler/command?timeout=10ms", "get target")); got.status != 504 {
		t.Errorf("a mute device: %v", got)
	}
	g.do("DELETE", "/devices/boiler", "")
	if code := await(t, "the end of the mute one", exited); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

// A device that is told to stop does so, and one whose values are wrong does not begin.
func TestSimulatorEnds(t *testing.T) {
	g := start(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := newJournal()
	exited := make(chan int, 1)
	go func() { exited <- run(ctx, []string{"device", "-address", g.devices}, nil, out, out) }()
	out.await(t, "message 2 is acknowledged")
	cancel()
	if code := await(t, "the end", exited); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for args, want := range map[string]int{"-h": exitOK, "-x": exitUsage, "rest": exitUsage, "-id a/b": exitUsage, "-every 0s": exitUsage, "-retry -1s": exitUsage} {
		out := newJournal()
		if code := run(t.Context(), append([]string{"device"}, strings.Fields(args)...), nil, out, out); code != want {
			t.Errorf("%s: exit code %d, want %d", args, code, want)
		}
		out.await(t, "gateway device")
	}
}
