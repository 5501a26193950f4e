package natsbus_test

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/hub/natsbus"
)

// gate is what the connection of a bus goes through. It can be cut, or hold back all bytes without
// closing anything, as a network or a process that hangs.
type gate struct {
	mu      sync.Mutex
	cut     bool
	conns   map[*gateConn]bool
	stalled chan struct{} // nil, or closed when bytes pass again
}

// through has the bus connect through a new gate.
func through(b *natsbus.Bus) (*natsbus.Bus, *gate) {
	g := &gate{conns: make(map[*gateConn]bool)}
	b.Options = append(b.Options, nats.SetCustomDialer(g))
	return b, g
}

func (g *gate) Dial(network, address string) (net.Conn, error) {
	g.mu.Lock()
	cut := g.cut
	g.mu.Unlock()
	if cut {
		return nil, errors.New("the gate is closed")
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &gateConn{Conn: conn, gate: g, closed: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = true
	return c, nil
}

// close ends the connections, and lets nobody through until open is called.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = true
	for c := range g.conns {
		c.Conn.Close()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = false
}

// stall holds back all bytes until resume is called.
func (g *gate) stall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stalled = make(chan struct{})
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.stalled)
	g.stalled = nil
}

// gateConn is a connection through a gate.
type gateConn struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
	writes time.Time // the deadline; guarded by gate.mu
}

// wait waits while the gate is stalled, but not after the deadline, if there is one.
func (c *gateConn) wait(deadline *time.Time) error {
	c.gate.mu.Lock()
	stalled := c.gate.stalled
	var late <-chan time.Time
	if deadline != nil && !deadline.IsZero() {
		late = time.After(time.Until(*deadline))
	}
	c.gate.mu.Unlock()
	if stalled == nil {
		return nil
	}
	select {
	case <-stalled:
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

func (c *gateConn) SetWriteDeadline(t time.Time) error {
	c.gate.mu.Lock()
	c.writes = t
	c.gate.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

// Read holds back what it has read while the gate is stalled.
func (c *gateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err := c.wait(nil); err != nil {
		return 0, err
	}
	return n, err
}

func (c *gateConn) Write(b []byte) (int, error) {
	if err := c.wait(&c.writes); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *gateConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
