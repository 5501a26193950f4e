package admin_test

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/admin"
	"wireline/echo"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
	"wireline/tcptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is an echo server, a proxy to it, and the admin side of both.
type house struct {
	t     *testing.T
	echo  *tcptest.Server
	proxy *tcptest.Server
	admin *admin.Server
	http  *httptest.Server
}

// start starts a server with that name, which logs nothing. It is closed at the end of the test.
func start(t testing.TB, name string, h handler.Handler) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(h)
	s.TCP.Name, s.TCP.Log = name, slog.New(slog.DiscardHandler)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func newHouse(t *testing.T, change ...func(*admin.Server)) *house {
	t.Helper()
	h := &house{t: t}
	h.echo = start(t, "echo", echo.New(echo.Config{}))
	h.proxy = start(t, "relay", &proxy.Proxy{
		Config: proxy.Config{Upstreams: []string{h.echo.Addr}},
		Log:    slog.New(slog.DiscardHandler),
	})
	testutil.Eventually(t, "the servers", func() bool { return h.echo.TCP.Ready() && h.proxy.TCP.Ready() })
	h.admin = &admin.Server{
		Servers: []*tcp.Server{h.echo.TCP, h.proxy.TCP},
		Version: "v1.2.3",
		Log:     slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(h.admin)
	}
	h.http = httptest.NewServer(h.admin)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		h.http.Close()
	})
	return h
}

// client is a client of one of the servers, which sends lines and reads them back.
type client struct {
	net.Conn
	lines *bufio.Reader
}

func (h *house) connect(s *tcptest.Server) *client {
	h.t.Helper()
	return h.connectTo(s.Addr)
}

func (h *house) connectTo(addr string) *client {
	h.t.Helper()
	conn := testutil.Dial(h.t, "tcp", addr)
	conn.SetDeadline(time.Now().Add(testutil.Patience))
	return &client{conn, bufio.NewReader(conn)}
}

// say sends a line and reads it back.
func (c *client) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.lines.ReadString('\n'); got != line+"\n" {
		t.Fatalf("%q came back, %v; want %q", got, err, line)
	}
}

// do makes a request and returns the status and the body.
func (h *house) do(method, path, body string, header ...string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequest(method, h.http.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// get returns the JSON that a path answers with.
func (h *house) get(path string) (v map[string]any) {
	h.t.Helper()
	status, body := h.do("GET", path, "")
	if status != http.StatusOK {
		h.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		h.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return v
}

// list returns the elements of a list in the answer to path.
func (h *house) list(path, key string) (list []map[string]any) {
	h.t.Helper()
	for _, v := range h.get(path)[key].([]any) {
		list = append(list, v.(map[string]any))
	}
	return list
}
