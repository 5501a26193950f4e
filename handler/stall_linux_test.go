package handler

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bareSocket is an Accepted of a socket that no server has accepted.
type bareSocket struct {
	Accepted
	fd   int
	done chan struct{}
}

func (b bareSocket) Context() context.Context { return context.Background() }
func (b bareSocket) LocalAddr() net.Addr      { return new(net.UnixAddr) }
func (b bareSocket) RemoteAddr() net.Addr     { return new(net.UnixAddr) }
func (b bareSocket) CloseMode() CloseMode     { return CloseDefault }
func (b bareSocket) Network() string          { return "unix" }
func (b bareSocket) Socket() (int, bool)      { return b.fd, true }
func (b bareSocket) Panicked(any)             {}
func (b bareSocket) Done()                    { close(b.done) }

// A client that has taken something at the moment at which its time is over stays.
func TestStallThatEndsWhileItIsJudged(t *testing.T) {
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
		t.Error("it takes everything")
	}
	c.out.stalled, c.out.left, c.out.looks = c.conn.Now()-int64(2*time.Hour), 0, firstLooks
	judged := make(chan struct{})
	go func() {
		c.checkStall()
		close(judged)
	}()
	time.Sleep(20 * time.Millisecond) // so that it waits for the lock, most likely
	c.out.stalled = c.conn.Now()
	c.mu.Unlock()
	<-judged
	if c.hasFailed() {
		t.Errorf("it was reset: %+v", c.Record())
	}
	c.CloseWith(CloseReset)
	<-a.done
	h.Close()
}
