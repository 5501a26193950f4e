package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wireline/client"
	"wireline/tcptest"
)

// What is sent while there is no connection goes out in order when there is one, once, and what was
// given up meanwhile does not.
func TestQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		x.stop()
		c := open(t, d)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
		defer cancel()
		var requests sync.WaitGroup
		for i := range 3 {
			if err := c.Send(t.Context(), fmt.Appendf(nil, "- note %d", i)); err != nil {
				t.Error(err)
			}
			requests.Go(func() { wantAnswer(t, c, fmt.Sprintf("%d echo x", i), fmt.Sprintf("%d x", i)) })
			synctest.Wait()
			requests.Go(func() {
				if _, err := c.Request(ctx, fmt.Appendf(nil, "given-up-%d echo x", i)); err != errGaveUp {
					t.Errorf("given up: %v", err)
				}
			})
			synctest.Wait()
		}
		if s := c.Status(); s.State == client.StateConnected || s.Queued != 9 || s.InFlight != 6 || s.Failures == 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Second)
		if s := c.Status(); s.Queued != 6 || s.InFlight != 3 {
			t.Errorf("%+v", s)
		}
		x.start()
		requests.Wait()
		awaitConn(t, c)
		for i := range 3 {
			x.wantLine(t, fmt.Sprintf("- note %d", i))
			x.wantLine(t, fmt.Sprintf("%d echo x", i))
		}
		if s := c.Status(); s.Queued != 0 || s.InFlight != 0 || s.Failed != 0 || s.Err == nil {
			t.Errorf("%+v", s)
		}
	})
}

// The queue is bounded, or is not there at all.
func TestQueueIsBounded(t *testing.T) {
	for _, limit := range []int{-1, 1000} {
		inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
			d.MaxQueued = limit
			x.stop()
			c := open(t, d)
			synctest.Wait()
			sent := 0
			var err error
			for ; err == nil; sent++ {
				err = c.Send(t.Context(), []byte("- note"))
			}
			_, failed := c.Request(t.Context(), []byte("1 echo x"))
			switch want := client.ErrQueueFull; {
			case limit < 0 && (sent != 1 || !errors.Is(err, client.ErrAway) || !errors.Is(failed, client.ErrAway) || !errors.Is(err, syscall.ECONNREFUSED)):
				t.Errorf("sent %d, then %v and %v", sent, err, failed)
			case limit > 0 && (sent != 8 || err != want || failed != want):
				t.Errorf("sent %d, then %v and %v", sent, err, failed)
			}
			x.start()
			awaitConn(t, c)
			wantAnswer(t, c, "1 echo x", "1 x")
		})
	}
}

// Senders that are as fast as the network do not keep a Conn from being connected. They wait until the
// queue is sent, in place of filling it, and their frames go behind it.
func TestFlushUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		const queued, senders, each = 20, 4, 50
		d.MaxPending, d.MaxQueued = 100, queued*200
		start, read, lines := make(chan struct{}), make(chan struct{}), make(chan string, queued+senders*each)
		d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			<-start
			here, there := tcptest.PipeSize(100)
			go func() {
				defer there.Close()
				defer close(lines)
				<-read
				for s := bufio.NewScanner(there); s.Scan(); {
					lines <- s.Text()
					time.Sleep(time.Millisecond)
				}
			}()
			return here, nil
		}
		c := open(t, d)
		for i := range queued {
			if err := c.Send(t.Context(), fmt.Appendf(nil, "- queued while there was no connection %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		close(start)
		awaitConn(t, c)
		if s := c.Status(); s.Queued == 0 || s.Connects != 1 {
			t.Errorf("%+v", s)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errGaveUp)
		defer cancel()
		if err := c.Send(ctx, []byte("- early")); err != errGaveUp {
			t.Errorf("one that does not wait: %v", err)
		}
		close(read)
		var sending sync.WaitGroup
		for range senders {
			sending.Go(func() {
				for range each {
					if err := c.Send(t.Context(), []byte("- later")); err != nil {
						t.Errorf("after %d lines: %v", len(lines), err)
						return
					}
				}
			})
		}
		sending.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for i := range queued {
			if got, want := <-lines, fmt.Sprintf("- queued while there was no connection %d", i); got != want {
				t.Errorf("line %q, want %q", got, want)
			}
		}
		later := 0
		for got := range lines {
			if later++; got != "- later" {
				t.Errorf("line %q", got)
			}
		}
		if later != senders*each {
			t.Errorf("%d lines came later", later)
		}
	})
}

// What is left of the queue when its connection ends goes to the next one, in order.
func TestFlushLost(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.MaxPending = 30
		start, conns := make(chan struct{}), make(chan *tcptest.Conn, 1)
		d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			<-start
			here, there := tcptest.PipeSize(30)
			conns <- there
			return here, nil
		}
		c := open(t, d)
		for i := range 20 {
			if err := c.Send(t.Context(), fmt.Appendf(nil, "- queued %02d", i)); err != nil {
				t.Fatal(err)
			}
		}
		close(start)
		awaitConn(t, c)
		synctest.Wait()
		left := c.Status().Queued
		(<-conns).Reset()
		synctest.Wait()
		if s := c.Status(); s.Losses != 1 || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
		there := <-conns
		defer there.Close()
		for i := 19 - left; i < 20; i++ { // one has waited for room
			tcptest.Receive(t, there, fmt.Sprintf("- queued %02d\n", i))
		}
	})
}
