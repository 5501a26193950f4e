package handler

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bareSocket is an Accepted for a socket that no server has accepted.
type bareSocket struct {
	Accepted
	fd   int
	done chan struct{}
}

func (b bareSocket) Context() context.Context { return context.Background() }
func (b bareSocket) LocalAddr() net.Addr      { return new(net.UnixAddr) }
func (b bareSocket) RemoteAddr() net.Addr     { return new(net.UnixAddr) }
func (b bareSocket) CloseMode() CloseMode     { return CloseDefault }
func (b bareSocket) Memory() *Memory          { return nil }
func (b bareSocket) Network() string          { return "unix" }
func (b bareSocket) Socket() (int, bool)      { return b.fd, true }
func (b bareSocket) TLS() *tls.Conn           { return nil }
func (b bareSocket) Panicked(any)             {}
func (b bareSocket) Done()                    { close(b.done) }

// A client that has accepted output just before its write timeout expires is not reset.
func TestProgressDuringAStallCheck(t *testing.T) {
	opened := make(chan *Client, 1)
	h := &Frames{WriteTimeout: time.Hour, OnOpen: func(c *Client) error { opened <- c; return nil }}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	a := bareSocket{fd: pair[0], done: make(chan struct{})}
	h.Accept(a)
	c := <-opened
	c.Write(make([]byte, 8<<20))
	c.mu.Lock()
	if !c.sending.has(blocked) {
		t.Error("the socket accepted everything")
	}
	c.out.stalled, c.out.unsent, c.out.checks = c.conn.Now()-int64(2*time.Hour), 0, earlyChecks
	judged := make(chan struct{})
	go func() {
		c.checkStall()
		close(judged)
	}()
	time.Sleep(20 * time.Millisecond) // most likely the check waits for the lock now
	c.out.stalled = c.conn.Now()
	c.mu.Unlock()
	<-judged
	if c.hasFailed() {
		t.Errorf("the client was reset: %+v", c.Record())
	}
	c.CloseWith(CloseReset)
	<-a.done
	h.Close()
}
