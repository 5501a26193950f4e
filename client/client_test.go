package client_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wireline/client"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	tcptest.Timeout = testutil.Patience
	goleak.VerifyTestMain(m)
}

// A line of the test protocol is an id, a word, and the rest. The answer to "echo" has the id and the
// rest. A line whose id is "-" is no request, and no answer.
func idOf(line []byte) (id string, ok bool) {
	id, _, ok = strings.Cut(string(line), " ")
	return id, ok && id != "-"
}

// site is a server of the test protocol in memory. It can be stopped and started again.
type site struct {
	frames *handler.Frames
	lines  chan string // that it has got, but for pings

	mu sync.Mutex
	ln *tcptest.Listener
	s  *tcptest.Server
}

func newSite(t *testing.T) *site {
	x := &site{lines: make(chan string, 10000)}
	x.start()
	t.Cleanup(x.stop)
	return x
}

func (x *site) start() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.frames = &handler.Frames{OnFrame: x.serve}
	x.ln = tcptest.Listen()
	x.s = tcptest.NewUnstartedServer(x.frames)
	x.s.TCP.Config.Log = quiet
	x.s.Serve(x.ln)
}

// stop resets all connections. Until start, connects are refused.
func (x *site) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.s.Close()
}

// restart is stop, and start.
func (x *site) restart() {
	x.stop()
	x.start()
}

func (x *site) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	x.mu.Lock()
	ln := x.ln
	x.mu.Unlock()
	return ln.DialContext(ctx)
}

func (x *site) serve(c *handler.Client, line []byte) error {
	id, rest, _ := strings.Cut(string(line), " ")
	word, rest, _ := strings.Cut(rest, " ")
	if word != "ping" {
		x.lines <- string(line)
	}
	switch word {
	case "echo":
		return c.WriteFrame([]byte(id + " " + rest))
	case "push":
		return c.WriteFrame([]byte("- " + rest))
	case "after": // a duration, then the answer
		wait, text, _ := strings.Cut(rest, " ")
		d, err := time.ParseDuration(wait)
		c.Go(func(ctx context.Context) error {
			time.Sleep(d)
			return c.WriteFrame([]byte(id + " " + text))
		})
		return err
	case "pong", "ping":
		return c.WriteFrame([]byte("- pong"))
	case "reset":
		c.CloseWith(handler.CloseReset)
	case "quit":
		return handler.ErrQuit
	}
	return nil
}

// dialer returns a Dialer for the site.
func (x *site) dialer(t *testing.T) *client.Dialer {
	d := &client.Dialer{ID: idOf, DialContext: x.dial, Log: quiet}
	t.Cleanup(func() { d.Close() })
	return d
}

var quiet = slog.New(slog.DiscardHandler)

// dial makes a connection.
func dial(t *testing.T, d *client.Dialer) *client.Conn {
	t.Helper()
	c, err := d.Dial(t.Context(), "tcp", "server:1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open makes a connection in the background.
func open(t *testing.T, d *client.Dialer) *client.Conn {
	t.Helper()
	c, err := d.Open("tcp", "server:1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// awaitConn waits until there is a connection. The answer to what has waited for it may come before.
func awaitConn(t *testing.T, c *client.Conn) {
	t.Helper()
	if err := c.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wantAnswer makes a request, and demands its answer.
func wantAnswer(t *testing.T, c *client.Conn, request, want string) {
	t.Helper()
	if got, err := c.Request(t.Context(), []byte(request)); string(got) != want || err != nil {
		t.Errorf("%.80s: %.80q, %v", request, got, err)
	}
}

// wantLine demands that the next line that the site gets, or has got, is want.
func (x *site) wantLine(t *testing.T, want string) {
	t.Helper()
	if got := <-x.lines; got != want {
		t.Errorf("the server got %q, want %q", got, want)
	}
}

// inBubble runs a test in a synctest bubble, with a site and a Dialer that are closed in it.
func inBubble(t *testing.T, test func(t *testing.T, x *site, d *client.Dialer)) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		test(t, x, x.dialer(t))
	})
}

func TestValidate(t *testing.T) {
	for _, bad := range []*client.Dialer{
		{ConnectTimeout: -1},
		{KeepAlive: -1},
		{FrameTimeout: -1},
		{CloseTimeout: -1},
		{Ping: func() []byte { return nil }},
		{Codec: frame.Length{Width: 9}},
	} {
		if _, err := bad.Open("tcp", "server:1"); err == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
