//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// load is a way to ask: so many clients, each with so many lines under way.
type load struct {
	name         string
	conns, depth int
}

var loads = []load{
	{name: "ping1", conns: 1, depth: 1},
	{name: "ping50", conns: 50, depth: 1},
	{name: "ping1000", conns: 1000, depth: 1},
	{name: "pipe50x64", conns: 50, depth: 64},
}

// task is what a load process is told to do.
type task struct {
	Address netip.AddrPort
	Server  int   // its process
	Cores   []int // of server and load; one, if they share it
	Conns   int
	Depth   int
	Warmup  time.Duration // or, for idle clients, the time to settle
	Measure time.Duration
	Stall   time.Duration // without any reply: give up
}

// measurement is what one load process saw.
type measurement struct {
	Lines   int64         `json:"lines"`
	Wall    time.Duration `json:"wall_ns"`
	CPU     time.Duration `json:"server_cpu_ns"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Foreign float64       `json:"foreign"` // time that others took of the two cores, per wall time
}

// generator drives all clients from one thread, edge-triggered, and polls
// without ever sleeping: a load that sleeps is woken by the server's writes,
// at the server's cost, which a client on another machine does not cause.
type generator struct {
	task
	epoll   int
	clients []*client
	events  []unix.EpollEvent
	buf     []byte

	started time.Time
	now     time.Duration // since started, read once per reply
	last    time.Duration // when the last reply came
	waiting int           // clients that have a burst under way
	closing bool          // send no further burst
	bursts  int64
	latency histogram
}

// measure warms the server up, then takes figures for a while.
func measure(t task) (measurement, error) {
	// Nothing is allocated while it runs, so nothing has to be collected.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	g, err := newGenerator(t)
	if err != nil {
		return measurement{}, err
	}
	defer g.close()
	if err := g.warmUp(); err != nil {
		return measurement{}, err
	}
	m, err := g.window()
	if err != nil {
		return measurement{}, err
	}
	return m, g.drain()
}

// newGenerator makes a generator that has no clients yet.
func newGenerator(t task) (*generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &generator{
		task:    t,
		epoll:   epoll,
		events:  make([]unix.EpollEvent, 256),
		buf:     make([]byte, 2*t.Depth*lineSize),
		started: time.Now(),
	}, nil
}

// connect adds all clients that the task asks for.
func (g *generator) connect() error {
	for id := range g.Conns {
		if _, err := g.add(id); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) add(id int) (*client, error) {
	c, err := dial(g.Address, id, g.Depth)
	if err != nil {
		return nil, err
	}
	g.clients = append(g.clients, c)
	return c, unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(id),
	})
}

func (g *generator) close() {
	for _, c := range g.clients {
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(g.epoll)
}

// warmUp connects all clients and lets them ask, not measured yet.
func (g *generator) warmUp() error {
	if err := g.connect(); err != nil {
		return err
	}
	for _, c := range g.clients {
		if err := g.launch(c); err != nil {
			return err
		}
	}
	return g.runUntil(g.now + g.Warmup)
}

// launch sends the first burst of a client.
func (g *generator) launch(c *client) error {
	g.tick()
	c.since, g.last = g.now, g.now
	g.waiting++
	return c.send()
}

// window measures for the time that the task asks for.
func (g *generator) window() (measurement, error) {
	g.bursts, g.latency = 0, histogram{}
	before, err := g.clocks()
	if err != nil {
		return measurement{}, err
	}
	if err := g.runUntil(g.now + g.Measure); err != nil {
		return measurement{}, err
	}
	after, err := g.clocks()
	if err != nil {
		return measurement{}, err
	}
	wall, cpu := after.wall-before.wall, after.server-before.server
	foreign := (after.busy - before.busy) - cpu - (after.own - before.own)
	return measurement{
		Lines:   g.bursts * int64(g.Depth),
		Wall:    wall,
		CPU:     cpu,
		P50:     g.latency.quantile(0.50),
		P99:     g.latency.quantile(0.99),
		Foreign: max(0, foreign.Seconds()/wall.Seconds()),
	}, nil
}

// clocks are read at both ends of a measurement.
type clocks struct {
	wall   time.Duration
	server time.Duration // CPU of the server
	own    time.Duration // CPU of this process
	busy   time.Duration // of the cores, whoever used them
}

func (g *generator) clocks() (c clocks, err error) {
	if c.busy, err = coresBusy(g.Cores); err != nil {
		return c, err
	}
	if c.own, err = processCPU(os.Getpid()); err != nil {
		return c, err
	}
	if c.server, err = processCPU(g.Server); err != nil {
		return c, err
	}
	g.tick()
	c.wall = g.now
	return c, nil
}

// drain waits for the replies that are under way.
func (g *generator) drain() error {
	g.closing = true
	for g.waiting > 0 {
		if err := g.poll(); err != nil {
			return err
		}
	}
	return nil
}

// runUntil goes on until then, and on to the first reply if there was none: a
// server may be kept from its core for longer than a short measurement.
func (g *generator) runUntil(end time.Duration) error {
	for g.now < end || g.bursts == 0 {
		if err := g.poll(); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) tick() { g.now = time.Since(g.started) }

// poll handles the events that are there.
func (g *generator) poll() error {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.epoll),
		uintptr(unsafe.Pointer(&g.events[0])), uintptr(len(g.events)), 0, 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return fmt.Errorf("epoll_pwait: %w", errno)
	}
	if n == 0 || errno != 0 {
		return g.idle()
	}
	for _, event := range g.events[:n] {
		if err := g.handle(g.clients[event.Fd], event.Events); err != nil {
			return err
		}
	}
	return nil
}

// idle ends a run in which no reply comes any more.
func (g *generator) idle() error {
	g.tick()
	if g.now-g.last > g.Stall {
		return fmt.Errorf("no reply for %v: %d of %d clients are waiting", g.Stall, g.waiting, len(g.clients))
	}
	return nil
}

// handle goes on with a client. An event always tells that it may write too,
// so a burst that did not fit in at once is looked for first.
func (g *generator) handle(c *client, events uint32) error {
	if c.sent < len(c.bursts[c.turn]) {
		if err := c.send(); err != nil {
			return err
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	whole, err := c.receive(g.buf)
	if err != nil || !whole {
		return err
	}
	g.tick()
	g.last = g.now
	g.latency.add(g.now - c.since)
	g.bursts++
	c.next()
	if g.closing {
		g.waiting--
		return nil
	}
	c.since = g.now
	return c.send()
}
