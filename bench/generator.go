//go:build linux

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// generator drives all clients from one thread, edge-triggered. It polls without sleeping, or
// waits if the task says so. A load that sleeps is woken by the server's writes, at the
// server's cost. A client on another machine would not cause that cost. A load that polls
// keeps its core to itself.
type generator struct {
	task
	epoll   int
	clients []*client
	events  []unix.EpollEvent
	buf     []byte

	started time.Time
	now     time.Duration // since the start; read once per reply
	last    time.Duration // when the last reply came
	waiting int           // clients with an outstanding burst
	closing bool          // send no further burst

	upstream *upstream // of a proxy; nil otherwise

	bursts  int64
	latency histogram
}

// measure warms the server up, then measures.
func measure(t task) (measurement, error) {
	// Nothing is allocated while it runs, or little where connections come and go. So the
	// garbage collector is not needed. Over TLS it is: each record is a little garbage.
	percent := -1
	if t.TLS {
		percent = 1000
	}
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
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
	warmup := g.rate(g.Warmup)
	m, err := g.window()
	if err == nil && g.Sleep > 0 {
		m, err = g.stalled(m)
	}
	if err == nil && g.FloodAddress.IsValid() {
		m, err = g.flooded(m)
	}
	if err != nil {
		return measurement{}, err
	}
	m.Warmup = warmup
	return m, g.drain()
}

// rate is the number of replies so far per second.
func (g *generator) rate(in time.Duration) float64 {
	if in == 0 {
		return 0
	}
	return float64(g.requests()) / in.Seconds()
}

func (g *generator) requests() int64 { return g.bursts * int64(max(g.Depth, 1)) }

// newGenerator returns a generator without clients.
func newGenerator(t task) (*generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	g := &generator{
		task:    t,
		epoll:   epoll,
		clients: make([]*client, 0, t.Conns+1),
		events:  make([]unix.EpollEvent, 256),
		buf:     make([]byte, 2*len(t.burst(0, 0))),
		started: time.Now(),
	}
	if t.Relayed {
		g.upstream, err = newUpstream(epoll, g.buf)
	}
	return g, err
}

// burst returns what client number id sends in one turn.
func (t task) burst(id, turn int) []byte {
	if t.Frame > 0 {
		return frameBurst(id, turn, t.Frame)
	}
	return lineBurst(id, turn, t.Depth)
}

// add connects one more client, which sends its first burst.
func (g *generator) add() error {
	id := len(g.clients)
	c := &client{id: id, bursts: [2][]byte{g.burst(id, 0), g.burst(id, 1)}}
	if err := g.open(c); err != nil {
		return err
	}
	g.clients = append(g.clients, c)
	g.waiting++
	if g.Churn { // it sends once it is connected
		return nil
	}
	return c.send()
}

// open connects a client.
func (g *generator) open(c *client) (err error) {
	g.tick()
	c.since = g.now
	if g.Churn {
		c.fd, err = beginConnect(g.Address, c.id, g.Reset)
	} else {
		c.fd, err = connect(g.Address)
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", g.Address, err)
	}
	if g.TLS {
		if c.secure, err = handshake(c.fd, g.Stall); err != nil {
			return err
		}
	}
	g.last = g.now
	return unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(c.id),
	})
}

func (g *generator) close() {
	for _, c := range g.clients {
		_ = unix.Close(c.fd)
	}
	if g.upstream != nil {
		g.upstream.close()
	}
	_ = unix.Close(g.epoll)
}

// warmUp connects all clients and lets them send, without measuring.
func (g *generator) warmUp() error {
	for range g.Conns {
		if err := g.add(); err != nil {
			return err
		}
	}
	g.tick()
	return g.runUntil(g.now + g.Warmup)
}

// window measures for the duration of the task.
func (g *generator) window() (measurement, error) {
	return g.measureWhile(func() error { return g.runUntil(g.now + g.Measure) })
}

// measureWhile measures while run runs.
func (g *generator) measureWhile(run func() error) (m measurement, err error) {
	g.bursts, g.latency = 0, histogram{}
	before, err := readClocks(g.Server, g.Forks, g.Cores)
	if err != nil {
		return m, err
	}
	g.tick()
	if err := run(); err != nil {
		return m, err
	}
	after, err := readClocks(g.Server, g.Forks, g.Cores)
	if err != nil {
		return m, err
	}
	m = after.since(before, 0)
	m.Requests, m.Bytes = g.requests(), g.bursts*int64(len(g.clients[0].bursts[0]))
	m.P50, m.P99, m.Max = g.latency.quantile(0.50), g.latency.quantile(0.99), g.latency.longest
	return m, nil
}

// drain waits for the outstanding replies.
func (g *generator) drain() error {
	g.closing = true
	for g.waiting > 0 {
		if err := g.poll(); err != nil {
			return err
		}
	}
	return nil
}

// runUntil runs until that time, and until the first reply: a server may lose its core for
// longer than a short measurement.
func (g *generator) runUntil(end time.Duration) error {
	for g.now < end || g.bursts == 0 {
		if err := g.poll(); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) tick() { g.now = time.Since(g.started) }

// pollBound limits one wait for events, in milliseconds, so that the time is checked.
const pollBound = 50

// poll handles the pending events. The system call bypasses the Go scheduler, which has
// nothing else to run here, even where the call waits.
func (g *generator) poll() error {
	wait := 0
	if g.Wait {
		wait = pollBound
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.epoll),
		uintptr(unsafe.Pointer(&g.events[0])), uintptr(len(g.events)), uintptr(wait), 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return fmt.Errorf("epoll_pwait: %w", errno)
	}
	if n == 0 || errno != 0 {
		return g.idle()
	}
	for _, event := range g.events[:n] {
		if event.Pad != 0 {
			if err := g.upstream.handle(event); err != nil {
				return err
			}
			continue
		}
		if err := g.handle(g.clients[event.Fd], event.Events); err != nil {
			return err
		}
	}
	return nil
}

// idle returns an error when no reply has arrived for too long.
func (g *generator) idle() error {
	g.tick()
	if g.now-g.last > g.Stall {
		return fmt.Errorf("no reply for %v: %d of %d clients are waiting", g.Stall, g.waiting, len(g.clients))
	}
	return nil
}

// handle serves a client after an event. Edge-triggered events always report that the socket
// is writable, so the rest of a burst is sent first.
func (g *generator) handle(c *client, events uint32) error {
	if c.forgotten() {
		return c.discard(g.buf)
	}
	if c.unsent() {
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
	if c.once {
		g.waiting--
		return nil
	}
	g.latency.add(g.now - c.since)
	g.bursts++
	return g.sendNext(c)
}

// sendNext makes a client whose reply has arrived send the next burst.
func (g *generator) sendNext(c *client) error {
	if g.closing {
		g.waiting--
		return nil
	}
	c.next()
	if g.Churn {
		if err := unix.Close(c.fd); err != nil {
			return err
		}
		return g.open(c)
	}
	c.since = g.now
	return c.send()
}
