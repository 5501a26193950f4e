package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
)

// client is a connection that no server has accepted.
type client struct {
	handler.Accepted
	conn net.Conn
	done chan struct{}
}

func newClient(conn net.Conn) *client { return &client{conn: conn, done: make(chan struct{})} }

func (c *client) LocalAddr() net.Addr          { return c.conn.LocalAddr() }
func (c *client) RemoteAddr() net.Addr         { return c.conn.RemoteAddr() }
func (c *client) TLS() *tls.Conn               { return nil }
func (c *client) CloseMode() handler.CloseMode { return handler.CloseDefault }
func (c *client) Memory() *handler.Memory      { return nil }
func (c *client) Socket() (int, bool)          { return -1, false }
func (c *client) Conn() (net.Conn, error)      { return c.conn, nil }
func (c *client) Done()                        { close(c.done) }

// stopping is a connection that calls stop between a Read and the Write of what was read.
type stopping struct {
	net.Conn
	stop func()
}

func (s *stopping) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.stop()
	}
	return n, err
}

// What was read and could not be written is not hidden behind a FIN.
func TestStopWithBytesInHand(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	x := &Proxy{Config: Config{Upstreams: []string{ln.Addr().String()}}}
	defer x.Close()
	far, near := testutil.Pair(t)
	c := newClient(&stopping{near, func() {
		x.pairs.Range(func(p *pair) bool { return p.Cut() })
	}})
	x.Accept(c)
	upstream, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	far.Write([]byte("hello"))
	if b, err := io.ReadAll(upstream); err == nil {
		t.Errorf("the upstream gets %q and a FIN", b)
	}
	<-c.done
}

// A timer that expires while its pair is closing does not touch a connection that is back
// in its pool.
func TestTimerOfAClosedPair(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	x := &Proxy{Config: Config{
		Upstreams:   []string{ln.Addr().String()},
		IdleTimeout: time.Hour,
		Pool:        PoolConfig{Size: 1, Reuse: true, ReuseQuiet: time.Millisecond},
	}}
	x.started.Do(func() {}) // nobody else fills the pool
	x.init()
	x.loops.Stop()
	defer x.Close()
	far, near := testutil.Pair(t)
	c := newClient(near)
	x.Accept(c)
	upstream, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	var p *pair
	x.pairs.Range(func(q *pair) bool { p = q; return false })
	upstream.Write([]byte("x"))
	io.ReadFull(far, make([]byte, 1))
	far.Close()
	<-c.done
	p.client.Expired() // later, as if they had waited for the lock
	p.upstream.Expired()
	p.upstream.Writable()
	conn := x.settings.Load().upstreams[0].pool.get(x.settings.Load())
	if conn == nil {
		t.Fatal("it is not in the pool")
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("write on a connection from the pool: %v", err)
	}
	if n, err := io.ReadFull(upstream, make([]byte, 1)); n != 1 {
		t.Errorf("read: %v", err)
	}
}
