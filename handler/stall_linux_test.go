package handler

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noSession is the server's part in a socket that has no server.
type noSession struct{ done chan struct{} }

func (noSession) LocalAddr() net.Addr  { return new(net.UnixAddr) }
func (noSession) RemoteAddr() net.Addr { return new(net.UnixAddr) }
func (noSession) Panicked(any)         {}
func (s noSession) Done()              { close(s.done) }

// A client that has taken something at the moment at which its time is over stays.
func TestStallThatEndsWhileItIsJudged(t *testing.T) {
	opened := make(chan *Client, 1)
	h := &Frames{WriteTimeout: time.Hour, OnOpen: func(c *Client) error { opened <- c; return nil }}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	session := noSession{make(chan struct{})}
	if !h.RegisterSocket(t.Context(), pair[0], session) {
		t.Fatal("there is no loop")
	}
	c := <-opened
	c.Write(make([]byte, 8<<20))
	s := c.wire.(*socket)
	c.mu.Lock()
	if s.stalled.Load() == 0 {
		t.Error("it takes all")
	}
	s.stalled.Store(s.now() - int64(2*time.Hour))
	judged := make(chan struct{})
	go func() {
		s.checkStall()
		close(judged)
	}()
	time.Sleep(20 * time.Millisecond) // so that it waits for the lock, most likely
	s.stalled.Store(s.now())
	c.mu.Unlock()
	<-judged
	if c.failed() {
		t.Errorf("it was reset: %+v", c.Record())
	}
	c.CloseWith(CloseReset)
	<-session.done
	h.Close()
}
