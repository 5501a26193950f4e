package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/atomic"

	"wireline/client"
)

// OnConnect is called for each connection, before anything that waits is sent.
func TestOnConnect(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		logins := 0
		d.OnConnect = func(ctx context.Context, o *client.Opening) error {
			logins++
			if err := o.Send(ctx, []byte("- hello")); err != nil {
				return err
			}
			answer, err := o.Request(ctx, fmt.Appendf(nil, "login echo %d", logins))
			if string(answer) != fmt.Sprintf("login %d", logins) {
				t.Errorf("login: %q, %v", answer, err)
			}
			return err
		}
		c := open(t, d)
		wantAnswer(t, c, "1 echo x", "1 x") // it waits: there is no connection yet
		x.restart()
		synctest.Wait()
		wantAnswer(t, c, "2 echo x", "2 x")
		for _, want := range []string{"- hello", "login echo 1", "1 echo x", "- hello", "login echo 2", "2 echo x"} {
			x.wantLine(t, want)
		}
	})
}

// A connection whose OnConnect fails, in whatever way, is no connection.
func TestOnConnectFails(t *testing.T) {
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		login func(ctx context.Context, o *client.Opening) error
		why   error
	}{
		"error":  {func(context.Context, *client.Opening) error { return refused }, refused},
		"panic":  {func(context.Context, *client.Opening) error { panic("oops") }, nil},
		"goexit": {func(context.Context, *client.Opening) error { runtime.Goexit(); return nil }, nil},
		"no context": {func(_ context.Context, o *client.Opening) error {
			_, err := o.Request(context.Background(), []byte("1 never"))
			return err
		}, context.DeadlineExceeded},
		"timeout": {func(ctx context.Context, o *client.Opening) error {
			<-ctx.Done()
			return nil
		}, context.DeadlineExceeded},
		"silent": {func(ctx context.Context, o *client.Opening) error {
			_, err := o.Request(ctx, []byte("1 never"))
			return err
		}, context.DeadlineExceeded},
		"lost": {func(ctx context.Context, o *client.Opening) error {
			_, err := o.Request(ctx, []byte("1 reset"))
			if ctx.Err() == nil {
				t.Error("the context goes on")
			}
			return err
		}, client.ErrLost},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
				d.OnConnect = test.login
				if _, err := d.Dial(t.Context(), "tcp", "server:1"); err == nil || test.why != nil && !errors.Is(err, test.why) {
					t.Errorf("error %v", err)
				}
				logins := 0
				d.OnConnect = func(ctx context.Context, o *client.Opening) error {
					if logins++; logins < 3 {
						return test.login(ctx, o)
					}
					return nil
				}
				wantAnswer(t, open(t, d), "2 echo x", "2 x")
				if logins != 3 {
					t.Errorf("%d logins", logins)
				}
			})
		})
	}
}

// Dial reports why its first attempt has failed, or why it was not waited for.
func TestDialFails(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		x.stop()
		if _, err := d.Dial(t.Context(), "tcp", "server:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v", err)
		}
		d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		begin := time.Now()
		if _, err := d.Dial(t.Context(), "tcp", "server:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begin); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("the connect timeout took %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGaveUp)
		if _, err := d.Dial(ctx, "tcp", "server:1"); err != errGaveUp {
			t.Errorf("error %v", err)
		}
		if totals := d.Totals(); totals.Open != 0 || totals.Conns != 3 {
			t.Errorf("%+v", totals)
		}
	})
}

// The waits between attempts are those of Backoff: they do not begin again after a connection that was
// there only for a moment.
func TestBackoffIsUsed(t *testing.T) {
	const longest = time.Minute
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.Backoff = client.Backoff{First: time.Second, Max: longest}
		c := dial(t, d)
		most := time.Duration(0)
		for range 40 {
			if err := c.Send(t.Context(), []byte("- quit")); err != nil {
				t.Fatal(err)
			}
			lost := time.Now()
			synctest.Wait()
			awaitConn(t, c)
			most = max(most, time.Since(lost))
		}
		if most < longest/4 || most > longest {
			t.Errorf("the longest wait was %v", most)
		}
		time.Sleep(longest)
		lost := time.Now()
		c.Send(t.Context(), []byte("- quit"))
		synctest.Wait()
		if s := c.Status(); s.State != client.StateWaiting || s.Next.Sub(lost) > time.Second {
			t.Errorf("after a lasting connection: %+v", s)
		}
	})
}

// A server that is silent is asked, and lost if it does not answer.
func TestKeepAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.KeepAlive = time.Minute
		var ignored atomic.Bool
		d.Ping = func() []byte {
			if ignored.Load() {
				return []byte("- ignored")
			}
			return []byte("- ping")
		}
		c := dial(t, d)
		time.Sleep(time.Hour)
		if s := c.Status(); s.State != client.StateConnected || s.Losses != 0 || s.Pushes < 60 {
			t.Errorf("%+v", s)
		}
		ignored.Store(true)
		time.Sleep(91 * time.Second)
		if s := c.Status(); s.Err != client.ErrSilent || s.Losses != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A panic of OnFrame ends the connection only.
func TestPanic(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.OnFrame = func(*client.Conn, []byte) error { panic("oops") }
		c := dial(t, d)
		if err := c.Send(t.Context(), []byte("- push x")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s := c.Status(); s.Losses != 1 {
			t.Errorf("%+v", s)
		}
		wantAnswer(t, c, "1 echo x", "1 x")
	})
}

// A panic or runtime.Goexit in DialContext is an attempt that has failed.
func TestDialContextPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		calls := 0
		d.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			switch calls++; calls {
			case 1:
				panic("oops")
			case 2:
				runtime.Goexit()
			}
			return x.dial(ctx, network, address)
		}
		c := open(t, d)
		wantAnswer(t, c, "1 echo x", "1 x")
		if s := c.Status(); s.Failures != 2 || s.Connects != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Dial returns the error of the first attempt, also if the second one begins at once.
func TestDialIsFirst(t *testing.T) {
	refused := errors.New("refused")
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.Backoff = client.Backoff{First: 1, Max: 1}
		var tried sync.Map // addresses
		d.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
			if _, again := tried.LoadOrStore(address, nil); !again {
				return nil, refused
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		for i := range 100 {
			if _, err := d.Dial(t.Context(), "tcp", fmt.Sprint("server:", i)); err != refused {
				t.Fatalf("error %v", err)
			}
		}
	})
}

// Dial fails if the Dialer is closed meanwhile.
func TestDialClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			go d.Close()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		if c, err := d.Dial(t.Context(), "tcp", "server:1"); c != nil || err != client.ErrClosed {
			t.Errorf("%v, %v", c, err)
		}
	})
}
