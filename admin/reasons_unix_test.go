//go:build unix

package admin_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/admin"
	"wireline/echo"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
	"wireline/tcptest"
)

// brief is a timeout that is to expire.
const brief = 20 * time.Millisecond

// way is a way in which a connection ends.
type way struct {
	by     handler.Party
	reason handler.Reason

	handler handler.Handler               // nil means an echo server
	server  func(*testing.T, *tcp.Server) // changes the server, if it is set
	end     func(*scene)                  // makes a client end
}

// ways has every reason and every party.
func ways() []way {
	return []way{
		{by: handler.ByClient, reason: handler.ReasonFIN, end: func(s *scene) {
			conn := s.greet()
			tcptest.CloseWrite(s, conn)
			tcptest.ReceiveAll(s, conn, "")
		}},
		{by: handler.ByClient, reason: handler.ReasonReset, end: func(s *scene) { reset(s.greet()) }},
		{by: handler.ByServer, reason: handler.ReasonIdleTimeout, handler: echo.New(echo.Config{IdleTimeout: brief}), end: silence},
		{by: handler.ByServer, reason: handler.ReasonReadTimeout, handler: echo.New(echo.Config{ReadTimeout: brief}), end: silence},
		{by: handler.ByServer, reason: handler.ReasonFirstFrameTimeout, handler: echo.New(echo.Config{FirstFrameTimeout: brief}), end: silence},
		{by: handler.ByServer, reason: handler.ReasonFrameTimeout, handler: echo.New(echo.Config{FrameTimeout: brief}), end: send("half")},
		{by: handler.ByServer, reason: handler.ReasonMaxLifetime, handler: echo.New(echo.Config{MaxLifetime: brief}), end: silence},
		{by: handler.ByServer, reason: handler.ReasonWriteTimeout, handler: &handler.Frames{OnFrame: flood, WriteTimeout: 5 * brief}, end: sendAlone},
		{by: handler.ByServer, reason: handler.ReasonSlowReader, handler: &handler.Frames{OnFrame: flood, WhenSlow: handler.SlowClose}, end: sendAlone},
		{by: handler.ByServer, reason: handler.ReasonMemory, server: func(_ *testing.T, s *tcp.Server) { s.MaxBuffered = 16 << 10 },
			end: func(s *scene) { io.WriteString(s.dial(), strings.Repeat("x", 60<<10)) }}, // it may be reset meanwhile
		{by: handler.ByServer, reason: handler.ReasonFrameError, handler: echo.New(echo.Config{MaxLine: 3}), end: send("hello\n")},
		{by: handler.ByServer, reason: handler.ReasonHandlerError, handler: frames(func(*handler.Client, []byte) error { return errors.New("no") }), end: send("hello\n")},
		{by: handler.ByServer, reason: handler.ReasonPanic, handler: frames(func(*handler.Client, []byte) error { panic("no") }), end: send("hello\n")},
		{by: handler.ByServer, reason: handler.ReasonClosed, handler: frames(func(*handler.Client, []byte) error { return handler.ErrQuit }), end: send("hello\n")},
		{by: handler.ByServer, reason: handler.ReasonApplication, handler: frames(func(c *handler.Client, _ []byte) error { return c.CloseFor(nil) }), end: send("hello\n")},
		{by: handler.ByServer, reason: handler.ReasonKicked, end: func(s *scene) {
			conn := s.greet()
			s.ask("DELETE", "/api/connections/scene/1")
			tcptest.ReceiveAll(s, conn, "")
			conn.Close()
		}},
		{by: handler.ByServer, reason: handler.ReasonHijacked, handler: frames(func(c *handler.Client, _ []byte) error {
			conn, _, err := c.Hijack()
			if err == nil {
				conn.Close()
			}
			return err
		}), end: send("hello\n")},
		{by: handler.ByServer, reason: handler.ReasonDrain, end: func(s *scene) {
			conn := s.greet()
			s.server.Shutdown(context.Background())
			conn.Close()
		}},
		{by: handler.ByServer, reason: handler.ReasonCut, handler: frames(func(c *handler.Client, _ []byte) error {
			io.WriteString(c, "hello\n")
			c.Flush()
			<-c.Context().Done()
			return nil
		}), end: func(s *scene) {
			s.greet()
			s.server.Close()
		}},
		{by: handler.ByClient, reason: handler.ReasonIOError, server: secure, end: func(s *scene) {
			conn := s.greetOverTLS()
			tcptest.Send(s, conn, "half")
			conn.NetConn().Close() // without a close_notify
		}},
		{by: handler.ByClient, reason: handler.ReasonTLS, server: secure, end: func(s *scene) {
			conn := s.greetOverTLS().NetConn()
			io.WriteString(conn, "\x17\x03\x03\x00\x20"+strings.Repeat("x", 32))
			io.Copy(io.Discard, conn)
			conn.Close()
		}},
		{by: handler.ByServer, reason: handler.ReasonNoUpstream, handler: relayTo(nil), end: func(s *scene) {
			if conn, err := net.Dial("tcp", s.server.Addr); err == nil { // it may be reset before it knows that it is connected
				io.Copy(io.Discard, conn)
				conn.Close()
			}
		}},
		{by: handler.ByServer, reason: handler.ReasonHalfCloseTimeout, handler: hurried(relayTo(func(_ net.Conn, over <-chan struct{}) { <-over })), end: func(s *scene) {
			conn := s.dial()
			tcptest.CloseWrite(s, conn)
			tcptest.ReceiveReset(s, conn)
		}},
		{by: handler.ByUpstream, reason: handler.ReasonFIN, handler: relayTo(func(conn net.Conn, _ <-chan struct{}) { conn.Close() }), end: silence},
		{by: handler.ByUpstream, reason: handler.ReasonReset, handler: relayTo(func(conn net.Conn, _ <-chan struct{}) {
			conn.Read(make([]byte, 1)) // the proxy is connected
			reset(conn)
		}), end: func(s *scene) {
			conn := s.dial()
			tcptest.Send(s, conn, "x")
			tcptest.ReceiveReset(s, conn)
		}},
	}
}

// frames is a handler with that frame function.
func frames(f func(c *handler.Client, line []byte) error) *handler.Frames {
	return &handler.Frames{OnFrame: f}
}

// flood replies with more than the system takes.
func flood(c *handler.Client, _ []byte) error {
	for range 2 {
		c.Write(make([]byte, 8<<20))
	}
	return nil
}

// silence is a client that sends nothing.
func silence(s *scene) { send("")(s) }

// send is a client that sends text, and reads to the end.
func send(text string) func(*scene) {
	return func(s *scene) {
		conn := s.dial()
		tcptest.Send(s, conn, text)
		io.Copy(io.Discard, conn)
		conn.Close() // or the server would linger
	}
}

// sendAlone is a client that sends a line and reads nothing.
func sendAlone(s *scene) { tcptest.Send(s, s.dial(), "hello\n") }

// reset ends a connection with a RST.
func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// secure gives a server a certificate.
func secure(t *testing.T, s *tcp.Server) {
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
}

// relay is a proxy with one upstream of its own.
type relay struct {
	*proxy.Proxy
	upstream func(conn net.Conn, over <-chan struct{})
}

// relayTo returns a proxy whose upstream treats a connection like that, until the test is over.
// Without a function nobody listens there.
func relayTo(upstream func(conn net.Conn, over <-chan struct{})) *relay {
	return &relay{&proxy.Proxy{Log: slog.New(slog.DiscardHandler)}, upstream}
}

// hurried sets the timeout of a pair that is half closed.
func hurried(r *relay) *relay {
	r.Config.HalfCloseTimeout = brief
	return r
}

// start starts the upstream.
func (r *relay) start(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	r.Config.Upstreams = []string{ln.Addr().String()}
	if r.upstream == nil {
		ln.Close()
		return
	}
	over := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		if conn, err := ln.Accept(); err == nil {
			r.upstream(conn, over)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		close(over)
		ln.Close()
		work.Wait()
	})
}

// scene is a service in which one client ends.
type scene struct {
	*testing.T
	server  *tcptest.Server
	side    *admin.Server
	records *testutil.Records[handler.Record]
}

// newScene starts the service of a way.
func newScene(t *testing.T, w way) *scene {
	s := &scene{T: t, records: testutil.NewRecords[handler.Record]()}
	if w.handler == nil {
		w.handler = echo.New(echo.Config{})
	}
	switch h := w.handler.(type) {
	case *handler.Frames:
		h.OnRecord = s.records.Add
	case *relay:
		h.OnRecord = s.records.Add
		h.start(t)
	}
	s.server = tcptest.NewUnstartedServer(w.handler)
	s.server.TCP.Name, s.server.TCP.Log = "scene", slog.New(slog.DiscardHandler)
	if w.server != nil {
		w.server(t, s.server.TCP)
	}
	s.server.Start()
	t.Cleanup(s.server.Close)
	s.side = &admin.Server{Servers: []*tcp.Server{s.server.TCP}, Log: slog.New(slog.DiscardHandler)}
	return s
}

// dial connects the client.
func (s *scene) dial() net.Conn { return testutil.Dial(s, "tcp", s.server.Addr) }

// greet connects the client, which sends a line and has it back.
func (s *scene) greet() net.Conn {
	conn := s.dial()
	exchange(s, conn)
	return conn
}

// greetOverTLS is greet with TLS.
func (s *scene) greetOverTLS() *tls.Conn {
	conn := tls.Client(s.dial(), &tls.Config{InsecureSkipVerify: true})
	exchange(s, conn)
	return conn
}

func exchange(t testing.TB, conn net.Conn) {
	tcptest.Send(t, conn, "hello\n")
	tcptest.Receive(t, conn, "hello\n")
}

// ask makes a request to the admin side.
func (s *scene) ask(method, path string) string {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.side.ServeHTTP(w, r.WithContext(overLoopback(r.Context())))
	if w.Code != http.StatusOK {
		s.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

// Each reason of a record is that of a metric, whoever has ended the connection.
func TestEveryReason(t *testing.T) {
	for _, w := range ways() {
		t.Run(fmt.Sprintf("%s by %s", w.reason, w.by), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, w)
			w.end(s)
			if r := s.records.Next(t); r.By != w.by || r.Reason != w.reason {
				t.Errorf("the record says %s by %s, %v", r.Reason, r.By, r.Err)
			}
			m := testutil.Metrics(t, s.ask("GET", "/metrics"), "wireline_connections")
			ended := fmt.Sprintf("wireline_connections_ended_total{by=%q,reason=%q,service=%q}", w.by, w.reason, "scene")
			for key, want := range map[string]float64{
				ended: 1,
				`wireline_connections_accepted_total{service="scene"}`: 1,
				`wireline_connections{service="scene"}`:                0,
			} {
				if got, ok := m[key]; got != want || !ok {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
		})
	}
}

// unrecorded are the reasons that no record has.
var unrecorded = map[string]bool{"on_idle": true}

// ways has all reasons and parties that the packages know.
func TestEveryReasonHasAWay(t *testing.T) {
	known := make(map[string]bool)
	for _, w := range ways() {
		known["Reason "+string(w.reason)], known["Party "+string(w.by)] = true, true
	}
	found := make(map[string]bool)
	for _, folder := range []string{"../handler", "../proxy"} {
		for _, c := range constants(t, folder) {
			found[c] = true
			if kind, value, _ := strings.Cut(c, " "); !known[c] && !unrecorded[value] {
				t.Errorf("%s has the %s %q, which no connection of this test has", folder, kind, value)
			}
		}
	}
	for k := range known {
		if !found[k] {
			t.Errorf("there is no constant of %q", k)
		}
	}
}

// constants returns the constants of the types Reason and Party in a folder, each with the name of
// its type before its value.
func constants(t *testing.T, folder string) (list []string) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s, %v", folder, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for _, v := range spec.Values {
				if kind, text := typed(spec.Type, v); kind == "Reason" || kind == "Party" {
					list = append(list, kind+" "+text)
				}
			}
			return true
		})
	}
	return list
}

// typed returns the name of the type of a string constant and its value: const C T = "x" or
// const C = T("x").
func typed(of ast.Expr, value ast.Expr) (kind, text string) {
	if call, ok := value.(*ast.CallExpr); ok && len(call.Args) == 1 {
		of, value = call.Fun, call.Args[0]
	}
	literal, ok := value.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", ""
	}
	switch t := of.(type) {
	case *ast.Ident:
		kind = t.Name
	case *ast.SelectorExpr:
		kind = t.Sel.Name
	}
	text, _ = strconv.Unquote(literal.Value)
	return kind, text
}
