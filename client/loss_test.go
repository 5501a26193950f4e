package client_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/client"
	"wireline/tcptest"
)

// A connection that ends while OnFrame runs is lost at once: its requests end, and what comes then
// waits for the next connection, which is made when OnFrame has returned.
func TestLostInOnFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		entered, release := make(chan struct{}), make(chan struct{})
		d.OnFrame = func(*client.Conn, []byte) error {
			close(entered)
			<-release
			return nil
		}
		c := dial(t, d)
		inFlight := make(chan error, 1)
		go func() {
			_, err := c.Request(t.Context(), []byte("1 never"))
			inFlight <- err
		}()
		synctest.Wait()
		c.Send(t.Context(), []byte("- push x"))
		<-entered
		x.restart()
		time.Sleep(time.Second)
		queued := make(chan error, 1)
		go func() {
			_, err := c.Request(t.Context(), []byte("2 echo x"))
			queued <- err
		}()
		time.Sleep(time.Minute)
		select {
		case err := <-inFlight:
			if !errors.Is(err, client.ErrLost) {
				t.Errorf("the request that was under way: %v", err)
			}
		default:
			t.Error("the request under way has not ended")
		}
		if s := c.Status(); s.State != client.StateConnecting || s.Losses != 1 || s.Lost != 1 || s.Queued != 1 {
			t.Errorf("%+v", s)
		}
		close(release)
		if err := <-queued; err != nil {
			t.Errorf("the request that came then: %v", err)
		}
		if s := c.Status(); s.Requests != 2 || s.Answers != 1 || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Calls of OnFrame do not overlap, also if OnConnect fails during one of them.
func TestOnFrameDoesNotOverlap(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			here, there := tcptest.Pipe()
			tcptest.Send(t, there, "- welcome\n")
			go x.frames.Handle(ctx, there)
			return here, nil
		}
		refused := errors.New("refused")
		var running, calls, logins atomic.Int32
		d.OnConnect = func(context.Context, *client.Opening) error {
			synctest.Wait() // OnFrame runs
			if logins.Add(1) == 1 {
				return refused
			}
			return nil
		}
		d.OnFrame = func(*client.Conn, []byte) error {
			if calls.Add(1); running.Add(1) > 1 {
				t.Error("two calls at a time")
			}
			time.Sleep(time.Minute)
			running.Add(-1)
			return nil
		}
		awaitConn(t, open(t, d))
		if logins.Load() != 2 || calls.Load() != 2 {
			t.Errorf("%d logins, %d calls", logins.Load(), calls.Load())
		}
		time.Sleep(2 * time.Minute) // Close would not wait for OnFrame
	})
}

// The context of OnConnect ends with the connection, also if that ends before OnConnect is called.
func TestOnConnectTooLate(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := tcptest.Pipe()
			return here, there.Close()
		}
		d.OnConnect = func(ctx context.Context, _ *client.Opening) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		begin := time.Now()
		for range 200 {
			if _, err := d.Dial(t.Context(), "tcp", "server:1"); !errors.Is(err, client.ErrLost) {
				t.Fatalf("error %v", err)
			}
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// OnFrame may close its Conn, from a goroutine.
func TestCloseOfOnFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		closed := make(chan error, 1)
		d.OnFrame = func(c *client.Conn, _ []byte) error {
			go func() { closed <- c.Close() }()
			return nil
		}
		begin := time.Now()
		c := dial(t, d)
		c.Send(t.Context(), []byte("- push bye"))
		if err := <-closed; err != nil || time.Since(begin) > time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}
