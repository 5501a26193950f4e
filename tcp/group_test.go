package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/lib/frame"
	"wireline/tcp"
)

// service is a server on a port of its own.
func service(name string, j *journal, h handler.Handler) *tcp.Server {
	cfg := tcp.Config{Address: "127.0.0.1:0", DrainTimeout: patience, Log: j.logger()}
	return &tcp.Server{Name: name, Config: cfg, Handler: h}
}

// runGroup runs g without signals. stop ends its context; result waits for the end of Run.
func runGroup(t *testing.T, g *tcp.Group) (stop context.CancelFunc, result func() error) {
	t.Helper()
	if g.Signals == nil {
		g.Signals = []os.Signal{}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	return stop, func() error {
		t.Helper()
		return testutil.Await(t, "the end of Run", ended)
	}
}

// dialServer connects to a server as soon as it serves.
func dialServer(t *testing.T, s *tcp.Server) net.Conn {
	t.Helper()
	testutil.Eventually(t, "the server", func() bool { return len(s.Addrs()) == 1 })
	addr := s.Addrs()[0]
	return testutil.Dial(t, addr.Network(), addr.String())
}

// services are those of the lines with a message.
func (j *journal) services(msg string) string {
	var names []string
	for _, line := range j.find(msg) {
		names = append(names, line["service"])
	}
	return strings.Join(names, " ")
}

// All servers of a group stop together.
func TestGroup(t *testing.T) {
	var j journal
	gate := newGate(t)
	one, two := service("one", &j, echo()), service("two", &j, echoAfter(gate.work))
	stop, result := runGroup(t, &tcp.Group{Servers: []*tcp.Server{one, two}})
	idle, busy := dialServer(t, one), dialServer(t, two)
	exchange(t, idle, "hello\n")
	send(t, busy, "hold\n")
	<-gate.holding
	stop()
	receiveAll(t, idle, "")
	gate.open()
	receiveAll(t, busy, "hold\n")
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, msg := range []string{"listening", "draining", "drained"} {
		if got := j.services(msg); got != "one two" && got != "two one" {
			t.Errorf("%s: %q", msg, got)
		}
	}
	if line := j.find("draining")[0]; line["cause"] != "context canceled" || line["clients"] != "1" {
		t.Errorf("%v", line)
	}
}

// What is wrong with any of the servers is found before the first one listens.
func TestGroupValidates(t *testing.T) {
	for name, test := range map[string]struct {
		change func(one, two *tcp.Server)
		want   []string
	}{
		"configuration":   {func(_, two *tcp.Server) { two.MaxClients = -1 }, []string{"service two: tcp: MaxClients -1: must not be negative"}},
		"handler":         {func(one, _ *tcp.Server) { one.Handler = &handler.Frames{Codec: frame.Delimiter{}} }, []string{"service one: tcp: handler: "}},
		"both":            {func(one, two *tcp.Server) { one.Network, two.Network = "x", "y" }, []string{"service one: ", "service two: "}},
		"name":            {func(one, two *tcp.Server) { one.Name = two.Name }, []string{"two servers have the name two"}},
		"without a name":  {func(_, two *tcp.Server) { two.Name, two.MaxClients = "", -1 }, []string{"tcp: MaxClients -1"}},
		"another's TLS":   {func(one, _ *tcp.Server) { one.TLS.Cert = "missing" }, []string{"service one: tcp: TLS.Key"}},
		"no such address": {func(_, two *tcp.Server) { two.Address = "127.0.0.1:port" }, []string{"service two: tcp: Address 127.0.0.1:port: must have a port"}},
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			one, two := service("one", &j, echo()), service("two", &j, echo())
			test.change(one, two)
			_, result := runGroup(t, &tcp.Group{Servers: []*tcp.Server{one, two}})
			err := result()
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
			if got := j.services("listening"); got != "" {
				t.Errorf("listening: %s", got)
			}
		})
	}
	one := service("one", new(journal), echo())
	_, result := runGroup(t, &tcp.Group{Servers: []*tcp.Server{one, one}})
	if err := result(); err == nil || !strings.Contains(err.Error(), "in the group already") {
		t.Errorf("a server twice: %v", err)
	}
}

// If one server cannot listen, the others do not stay.
func TestGroupListensForAllOrNone(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	var j journal
	one, two := service("one", &j, echo()), service("two", &j, echo())
	first := testutil.Listen(t, "tcp", "127.0.0.1:0").Addr().String()
	one.Address, two.Address = strings.Replace(first, "127.0.0.1", "127.0.0.2", 1), ln.Addr().String()
	_, result := runGroup(t, &tcp.Group{Servers: []*tcp.Server{one, two}})
	if err := result(); err == nil || !strings.Contains(err.Error(), "service two: tcp.address: listen tcp "+two.Address) {
		t.Errorf("Run: %v", err)
	}
	if got := j.services("listening"); got != "" {
		t.Errorf("listening: %s", got)
	}
	if conn, err := net.Dial("tcp", one.Address); err == nil {
		conn.Close()
		t.Error("the first one listens")
	}
}

// Servers come and go while the others serve.
func TestGroupAddRemove(t *testing.T) {
	var j journal
	gate := newGate(t)
	one, two := service("one", &j, echo()), service("two", &j, echoAfter(gate.work))
	g := &tcp.Group{Servers: []*tcp.Server{one}}
	stop, result := runGroup(t, g)
	live := dialServer(t, one)
	exchange(t, live, "hello\n")
	if err := g.Add(two); err != nil {
		t.Fatal(err)
	}
	busy := dialServer(t, two)
	send(t, busy, "hold\n")
	<-gate.holding

	if err := g.Add(two); err == nil || !strings.Contains(err.Error(), "in the group already") && !strings.Contains(err.Error(), "in use") {
		t.Errorf("the same again: %v", err)
	}
	if err := g.Add(service("one", &j, echo())); err == nil || !strings.Contains(err.Error(), "two servers have the name one") {
		t.Errorf("the name again: %v", err)
	}
	bad := service("three", &j, echo())
	bad.MaxClients = -1
	var fieldErr *field.Error
	if err := g.Add(bad); !errors.As(err, &fieldErr) {
		t.Errorf("a bad one: %v", err)
	}
	if err := g.Remove(t.Context(), bad); err == nil {
		t.Error("one that is not there was removed")
	}

	removed := make(chan error, 1)
	go func() { removed <- g.Remove(t.Context(), two) }()
	testutil.Eventually(t, "the drain", func() bool { return j.services("draining") == "two" })
	exchange(t, live, "still here\n")
	gate.open()
	receiveAll(t, busy, "hold\n")
	if err := testutil.Await(t, "Remove", removed); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if err := g.Add(service("two", &j, echo())); err != nil {
		t.Errorf("a successor: %v", err)
	}
	if err := g.Remove(t.Context(), one); err != nil {
		t.Errorf("Remove: %v", err)
	}
	receiveAll(t, live, "")
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if got, want := j.services("drained"), "two one two"; got != want {
		t.Errorf("drained: %s; want %s", got, want)
	}
	if err := g.Add(service("late", &j, echo())); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("Add after the stop: %v", err)
	}
	if err := g.Run(t.Context()); err == nil {
		t.Error("it runs again")
	}
}

// A group of none goes on, and a server is removed within the bound of the caller.
func TestGroupRemoveIsBounded(t *testing.T) {
	t.Parallel()
	var j journal
	gate := newGate(t)
	only := service("", &j, echoAfter(gate.work))
	g := &tcp.Group{}
	if err := g.Add(only); err != nil {
		t.Fatal(err)
	}
	stop, result := runGroup(t, g)
	busy := dialServer(t, only)
	send(t, busy, "hold\n")
	<-gate.holding
	if err := g.Remove(within(t, 50*time.Millisecond), only); !errors.Is(err, tcp.ErrCut) {
		t.Errorf("Remove: %v", err)
	}
	receiveReset(t, busy)
	next := service("", &j, echo())
	if err := g.Add(next); err != nil {
		t.Error(err)
	}
	exchange(t, dialServer(t, next), "hello\n")
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, line := range j.find("listening") {
		if _, there := line["service"]; there {
			t.Errorf("%v", line)
		}
	}
}

// The longest grace delay is that of all, and OnDrain is called when it begins.
func TestGroupGrace(t *testing.T) {
	t.Parallel()
	var j journal
	var drains atomic.Int32
	one, two := service("one", &j, echo()), service("two", &j, echo())
	one.GraceDelay = 500 * time.Millisecond
	two.OnDrain = func() { drains.Add(1) }
	stop, result := runGroup(t, &tcp.Group{Servers: []*tcp.Server{one, two}})
	exchange(t, dialServer(t, two), "hello\n")
	began := time.Now()
	stop()
	testutil.Eventually(t, "OnDrain", func() bool { return drains.Load() == 1 })
	if line := testutil.Soon(patience, func() bool { return len(j.find("draining")) == 2 }); !line {
		t.Fatal("no lines")
	}
	exchange(t, dialServer(t, two), "still here\n")
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took < one.GraceDelay {
		t.Errorf("the grace was %v", took)
	}
	for _, line := range j.find("draining") {
		if line["grace_s"] != fmt.Sprint(one.GraceDelay.Seconds()) {
			t.Errorf("%v", line)
		}
	}
	if n := drains.Load(); n != 1 {
		t.Errorf("OnDrain was called %d times", n)
	}
}

// Without a group, OnDrain is called by Shutdown.
func TestOnDrainOfShutdown(t *testing.T) {
	var drains atomic.Int32
	s := &tcp.Server{OnDrain: func() { drains.Add(1) }}
	s.Address, s.Log = "127.0.0.1:0", new(journal).logger()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe(ctx) }()
	dialServer(t, s)
	stop()
	if err := testutil.Await(t, "the end", ended); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("ListenAndServe: %v", err)
	}
	s.Shutdown(t.Context())
	if n := drains.Load(); n != 1 {
		t.Errorf("OnDrain was called %d times", n)
	}
}

// Serve says what is wrong as ListenAndServe does.
func TestServeValidates(t *testing.T) {
	for name, s := range map[string]*tcp.Server{
		"configuration": {Config: tcp.Config{MaxClients: -1}},
		"handler":       {Handler: &handler.Frames{Codec: frame.Delimiter{}}},
	} {
		ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
		err := s.Serve(t.Context(), ln)
		if err == nil || errors.Is(err, tcp.ErrServerClosed) {
			t.Errorf("%s: Serve returns %v", name, err)
		}
		if again := s.ListenAndServe(t.Context()); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: ListenAndServe returns %v, Serve %v", name, again, err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener stays open: %v", name, err)
		}
	}
}
