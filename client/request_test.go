package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wireline/client"
	"wireline/tcptest"
)

func TestRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		c := dial(t, d)
		wantAnswer(t, c, "1 echo hello", "1 hello")
		for _, bad := range []string{"none", "- echo x"} {
			if _, err := c.Request(t.Context(), []byte(bad)); !errors.Is(err, client.ErrNoID) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		if _, err := c.Request(t.Context(), []byte("1 echo a\nb")); err == nil || errors.Is(err, client.ErrLost) {
			t.Errorf("a payload that is no line: %v", err)
		}
		wantAnswer(t, c, "1 echo again", "1 again")
	})
}

// Answers may come in any order.
func TestPipelined(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		c := dial(t, d)
		var requests sync.WaitGroup
		for i := range 50 {
			requests.Go(func() {
				wantAnswer(t, c, fmt.Sprintf("%d after %dms answer-%d", i, 50-i, i), fmt.Sprintf("%d answer-%d", i, i))
			})
		}
		requests.Wait()
		if s := c.Status(); s.Requests != 50 || s.Answers != 50 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What answers no request goes to OnFrame. Its error ends the connection, and it is made again.
func TestPush(t *testing.T) {
	bad := errors.New("bad push")
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		pushes := make(chan string, 10)
		d.OnFrame = func(c *client.Conn, line []byte) error {
			pushes <- string(line)
			if string(line) == "- bad" {
				return bad
			}
			return nil
		}
		c := dial(t, d)
		for _, text := range []string{"news", "bad"} {
			if err := c.Send(t.Context(), []byte("- push "+text)); err != nil {
				t.Fatal(err)
			}
			if got := <-pushes; got != "- "+text {
				t.Errorf("push %q", got)
			}
		}
		synctest.Wait()
		if s := c.Status(); s.State != client.StateWaiting || s.Err != bad || s.Pushes != 2 || s.Sent != 2 {
			t.Errorf("%+v", s)
		}
		awaitConn(t, c)
	})
}

// A request whose connection ends is not sent again. The error says why the connection has ended.
func TestLost(t *testing.T) {
	for _, test := range []struct {
		word string
		why  error
	}{{"reset", syscall.ECONNRESET}, {"quit", io.EOF}} {
		inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
			c := dial(t, d)
			_, err := c.Request(t.Context(), []byte("1 "+test.word))
			if !errors.Is(err, client.ErrLost) || !errors.Is(err, test.why) {
				t.Errorf("%s: %v", test.word, err)
			}
			wantAnswer(t, c, "2 echo next", "2 next")
			awaitConn(t, c)
			x.wantLine(t, "1 "+test.word)
			x.wantLine(t, "2 echo next")
			if s := c.Status(); s.Lost != 1 || s.Losses != 1 || s.Connects != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

var errGaveUp = errors.New("gave up")

// A request that is given up leaves its id until its answer has come: it must not become that of
// another request.
func TestGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		c := dial(t, d)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
		defer cancel()
		if _, err := c.Request(ctx, []byte("1 after 10s old")); err != errGaveUp {
			t.Errorf("error %v", err)
		}
		if _, err := c.Request(t.Context(), []byte("1 echo new")); err != client.ErrIDInUse {
			t.Errorf("the same id: %v", err)
		}
		time.Sleep(10 * time.Second)
		wantAnswer(t, c, "1 echo new", "1 new")
		if s := c.Status(); s.Late != 1 || s.Answers != 1 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
		// The end of the connection frees ids, too.
		ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
		defer cancel()
		if _, err := c.Request(ctx, []byte("2 never")); err != errGaveUp {
			t.Errorf("error %v", err)
		}
		x.restart()
		synctest.Wait()
		wantAnswer(t, c, "2 echo new", "2 new")
	})
}

// A server that leaves too many requests without an answer loses the connection.
func TestUnanswered(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.MaxInFlight = 3
		c := dial(t, d)
		for i := range 3 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
			defer cancel()
			if _, err := c.Request(ctx, fmt.Appendf(nil, "%d never", i)); err != errGaveUp {
				t.Errorf("error %v", err)
			}
		}
		synctest.Wait()
		if s := c.Status(); s.Err != client.ErrUnanswered || s.Losses != 1 {
			t.Errorf("%+v", s)
		}
		wantAnswer(t, c, "1 echo x", "1 x")
	})
}

// No more than MaxInFlight requests are under way. The others wait, as long as they want.
func TestMaxInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.MaxInFlight = 2
		c := dial(t, d)
		begin := time.Now()
		var requests sync.WaitGroup
		for i := range 4 {
			requests.Go(func() { wantAnswer(t, c, fmt.Sprintf("%d after 10s x", i), fmt.Sprintf("%d x", i)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
		defer cancel()
		if _, err := c.Request(ctx, []byte("9 echo x")); err != errGaveUp {
			t.Errorf("error %v", err)
		}
		requests.Wait()
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Send and Request wait for room on a slow connection, for as long as their context says.
func TestBackpressure(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.MaxPending = 1000
		serverEnd := make(chan net.Conn, 1)
		d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := tcptest.PipeSize(1000)
			serverEnd <- there
			return here, nil
		}
		c := dial(t, d)
		defer (<-serverEnd).Close()
		note := []byte("- " + strings.Repeat("x", 498))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
		defer cancel()
		sent := 0
		var err error
		for ; err == nil; sent++ {
			err = c.Send(ctx, note)
		}
		if err != errGaveUp || sent != 5 {
			t.Errorf("sent %d, then %v", sent, err)
		}
		if _, err := c.Request(ctx, []byte("1 echo x")); err != errGaveUp {
			t.Errorf("request: %v", err)
		}
		if s := c.Status(); s.State != client.StateConnected || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A server does not read while its replies are not taken. So the client must take them while it
// sends, or both would wait for each other.
func TestBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			here, there := tcptest.PipeSize(100)
			go x.frames.Handle(ctx, there)
			return here, nil
		}
		c := dial(t, d)
		begin := time.Now()
		var requests sync.WaitGroup
		text := strings.Repeat("x", 10_000)
		for i := range 100 {
			requests.Go(func() { wantAnswer(t, c, fmt.Sprintf("%d echo %s", i, text), fmt.Sprintf("%d %s", i, text)) })
		}
		requests.Wait()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// What the server has not completed when the connection ends is no answer, also where the codec would
// take a last line without an end.
func TestCutWithinAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		serverEnd := make(chan *tcptest.Conn, 10)
		d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := tcptest.Pipe()
			serverEnd <- there
			return here, nil
		}
		c := dial(t, d)
		go func() {
			there := <-serverEnd
			tcptest.Receive(t, there, "1 echo x\n")
			tcptest.Send(t, there, "1 first ha")
			there.Close()
		}()
		if answer, err := c.Request(t.Context(), []byte("1 echo x")); !errors.Is(err, client.ErrLost) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", answer, err)
		}
	})
}

// Nothing is sent for a context that has ended.
func TestEndedContext(t *testing.T) {
	inBubble(t, func(t *testing.T, x *site, d *client.Dialer) {
		c := dial(t, d)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGaveUp)
		for range 50 {
			if err := c.Send(ctx, []byte("- x")); err != errGaveUp {
				t.Errorf("Send: %v", err)
			}
			if _, err := c.Request(ctx, []byte("1 never")); err != errGaveUp {
				t.Errorf("Request: %v", err)
			}
		}
		wantAnswer(t, c, "2 echo x", "2 x")
		x.wantLine(t, "2 echo x")
	})
}
