package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/examples/gateway/protocol"
	"wireline/tcptest"
)

// patience limits how long a test waits.
const patience = 30 * time.Second

// TestMain makes the test binary act as the program, if a variable says so.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_ACT_AS_GATEWAY") != "" {
		main()
	}
	tcptest.Timeout = patience
	goleak.VerifyTestMain(m)
}

// journal is a log that a test can wait for. It is safe for concurrent use.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed by the next Write
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.changed)
	j.changed = make(chan struct{})
	return j.text.Write(p)
}

// await waits for a line with text, and returns the rest of it.
func (j *journal) await(t testing.TB, text string) (rest string) {
	t.Helper()
	for timeout := time.After(patience); ; {
		j.mu.Lock()
		all, changed := j.text.String(), j.changed
		j.mu.Unlock()
		if _, after, ok := strings.Cut(all, text); ok {
			if rest, _, ok := strings.Cut(after, "\n"); ok {
				return rest
			}
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the log has no %q:\n%s", text, all)
		}
	}
}

// running is the program, running in this process.
type running struct {
	t       testing.TB
	log     *journal
	devices string // where devices connect
	http    string // where the HTTP side listens
	token   string // of the HTTP side
	client  http.Client
	cancel  context.CancelFunc
	exited  chan int
	stopped bool
}

// start runs the program with flags, on free ports and without a grace delay, until the end of the
// test.
func start(t testing.TB, flags ...string) *running {
	t.Helper()
	g := &running{t: t, log: newJournal(), exited: make(chan int, 1)}
	g.client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	args := append([]string{"--tcp.address=127.0.0.1:0", "--admin.address=127.0.0.1:0", "--tcp.grace_delay=0s"}, flags...)
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.exited <- run(ctx, args, nil, io.Discard, g.log) }()
	t.Cleanup(g.stop)
	g.devices = g.log.await(t, "msg=listening addr=")
	g.http = "http://" + g.log.await(t, "msg=admin addr=")
	return g
}

// stop stops the program, and checks its exit code.
func (g *running) stop() {
	g.t.Helper()
	if g.stopped {
		return
	}
	g.stopped = true
	g.cancel()
	select {
	case code := <-g.exited:
		if code != exitOK {
			g.t.Errorf("exit code %d; the log:\n%s", code, &g.log.text)
		}
	case <-time.After(patience):
		g.t.Errorf("the program does not stop; the log:\n%s", &g.log.text)
	}
}

// request returns a request with the token.
func (g *running) request(method, path, body string) *http.Request {
	g.t.Helper()
	r, err := http.NewRequest(method, g.http+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if g.token != "" {
		r.Header.Set("Authorization", "Bearer "+g.token)
	}
	return r
}

// do makes a request, and returns the status and the body.
func (g *running) do(method, path, body string, header ...string) (status int, answer string) {
	g.t.Helper()
	r := g.request(method, path, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Error(err)
	}
	return resp.StatusCode, string(b)
}

// response is what do returns.
type response struct {
	status int
	body   string
}

// command sends a command in the background.
func (g *running) command(path, body string) <-chan response {
	c := make(chan response, 1)
	go func() {
		status, answer := g.do("POST", "/devices/"+path, body)
		c <- response{status, answer}
	}()
	return c
}

// await waits for a value.
func await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s has not come", what)
		panic("not reached")
	}
}

// wire is a connection of a device, as bytes.
type wire struct {
	*protocol.Conn
	t testing.TB
}

// dial connects, without a login.
func (g *running) dial() *wire {
	g.t.Helper()
	conn, err := net.DialTimeout("tcp", g.devices, patience)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &wire{protocol.NewConn(conn), g.t}
}

// login connects and logs in.
func (g *running) login(id string) *wire {
	g.t.Helper()
	w := g.dial()
	w.send(protocol.Message{Type: protocol.Login, Sequence: 1, Payload: []byte(id)})
	w.expect(protocol.Welcome)
	return w
}

func (w *wire) send(m protocol.Message) {
	w.t.Helper()
	if err := w.WriteMessage(m); err != nil {
		w.t.Fatal(err)
	}
}

// expect reads a message of a type.
func (w *wire) expect(want protocol.Type) protocol.Message {
	w.t.Helper()
	m, err := w.ReadMessage()
	if err != nil || m.Type != want {
		w.t.Fatalf("a message of type %#02x %q, %v; want type %#02x", byte(m.Type), m.Payload, err, byte(want))
	}
	return m
}

// answer answers a command.
func (w *wire) answer(m protocol.Message, output string) {
	w.t.Helper()
	w.send(protocol.Message{Type: protocol.Answer, Sequence: m.Sequence, Payload: protocol.Result{Output: []byte(output)}.Append(nil)})
}

// ends reads a failure with the code, and the end of the stream.
func (w *wire) ends(want protocol.Code) {
	w.t.Helper()
	m := w.expect(protocol.Failure)
	why, err := protocol.ParseError(m.Payload)
	if err != nil || why.Code != want {
		w.t.Errorf("the failure is %v, %v; want code %d", why, err, want)
	}
	if m, err := w.ReadMessage(); err != io.EOF {
		w.t.Errorf("after the failure: %v, %v", m, err)
	}
}
