//go:build unix

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// origin is an upstream in the test's own process.
type origin struct {
	t    *testing.T
	ln   net.Listener
	work sync.WaitGroup

	mu    sync.Mutex
	conns []*net.TCPConn
	more  chan struct{} // receives when one is added
}

// serveUpstream serves each connection with f on a free port, until the test ends.
func serveUpstream(t *testing.T, f func(*net.TCPConn)) (addr string) {
	t.Helper()
	return newOrigin(t, "127.0.0.1:0", f).ln.Addr().String()
}

func newOrigin(t *testing.T, addr string, f func(*net.TCPConn)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, ln: ln, more: make(chan struct{}, 1)}
	o.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			tcp := conn.(*net.TCPConn)
			o.mu.Lock()
			o.conns = append(o.conns, tcp)
			o.mu.Unlock()
			select {
			case o.more <- struct{}{}:
			default:
			}
			o.work.Go(func() {
				defer tcp.Close()
				f(tcp)
			})
		}
	})
	t.Cleanup(func() { o.stop(false) })
	return o
}

// awaitConns waits until that many connections have been accepted.
func (o *origin) awaitConns(n int) {
	o.t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		is := len(o.conns)
		o.mu.Unlock()
		if is >= n {
			return
		}
		select {
		case <-o.more:
		case <-late:
			o.t.Fatalf("%d connections to the upstream, want %d", is, n)
		}
	}
}

// stop closes the listener and every connection, with a FIN or a RST.
func (o *origin) stop(reset bool) {
	o.ln.Close()
	o.mu.Lock()
	for _, conn := range o.conns {
		if reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
	o.mu.Unlock()
	o.work.Wait()
}

// echoAll is an upstream that echoes everything.
func echoAll(conn *net.TCPConn) { io.Copy(conn, struct{ io.Reader }{conn}) }
