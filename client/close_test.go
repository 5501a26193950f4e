package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/client"
)

// Shutdown waits for the answers, and for what waits in the queue, also if the connection has to be
// made first.
func TestShutdown(t *testing.T) {
	for _, away := range []bool{false, true} {
		inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
			if away {
				x.stop()
			}
			c := open(t, d)
			synctest.Wait()
			var requests sync.WaitGroup
			requests.Go(func() { wantAnswer(t, c, "1 after 10s x", "1 x") })
			if err := c.Send(t.Context(), []byte("- last words")); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if away {
				time.AfterFunc(time.Minute, x.start)
			}
			stopped := make(chan error)
			go func() { stopped <- c.Shutdown(t.Context()) }()
			synctest.Wait()
			if _, err := c.Request(t.Context(), []byte("2 echo x")); err != client.ErrClosed {
				t.Errorf("a request after Shutdown: %v", err)
			}
			requests.Wait()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			if err := c.Send(t.Context(), []byte("- x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Shutdown: %v", err)
			}
			if s := c.Status(); s.State != client.StateClosed || s.Dropped != 0 || s.RemoteAddr != nil {
				t.Errorf("%+v", s)
			}
			if err := c.Await(t.Context()); err != client.ErrClosed {
				t.Errorf("Await: %v", err)
			}
		})
	}
}

// Close cuts what has not ended after CloseTimeout, and says so.
func TestCloseCuts(t *testing.T) {
	for _, away := range []bool{false, true} {
		inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
			d.CloseTimeout = time.Second
			if away {
				x.stop()
			}
			c := open(t, d)
			synctest.Wait()
			var requests sync.WaitGroup
			requests.Go(func() {
				if _, err := c.Request(t.Context(), []byte("1 never")); err != client.ErrClosed {
					t.Errorf("request: %v", err)
				}
			})
			if away {
				c.Send(t.Context(), []byte("- x"))
			}
			synctest.Wait()
			begin := time.Now()
			if err := c.Close(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Close: %v", err)
			}
			if took := time.Since(begin); took != time.Second {
				t.Errorf("took %v", took)
			}
			requests.Wait()
			if err := c.Close(); err != nil {
				t.Errorf("the second Close: %v", err)
			}
			if totals := d.Totals(); totals.Open != 0 || totals.Conns != 1 || away != (totals.Dropped == 1) {
				t.Errorf("%+v", totals)
			}
		})
	}
}

// The Dialer closes all its Conns at the same time.
func TestDialerClose(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		for i := range 10 {
			c := dial(t, d)
			go c.Request(t.Context(), fmt.Appendf(nil, "%d after 1s x", i))
		}
		synctest.Wait()
		begin := time.Now()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < time.Second || took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		if _, err := d.Open("tcp", "server:1"); err != client.ErrClosed {
			t.Errorf("Open: %v", err)
		}
		if totals := d.Totals(); totals.Answers != 10 || totals.Open != 0 {
			t.Errorf("%+v", totals)
		}
	})
}
