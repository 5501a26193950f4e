package proxy_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcptest"
)

// A panic in the goroutine of a side resets its pair, and only that.
func TestPanicCostsOnePair(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		for _, from := range []string{"client", "upstream"} {
			s := tr.serve(t, proxy.Config{})
			client, upstream := s.pair()
			proxy.Corrupt(s.proxy)
			other, otherUpstream := s.pair()
			sender := client
			if from == "upstream" {
				sender = upstream
			}
			io.WriteString(sender, "x") // it fails if a timer has called the pair before
			expectReset(t, client)
			expectReset(t, upstream)
			s.expectPanic()
			send(t, other, "a")
			receive(t, otherUpstream, "a")
			send(t, otherUpstream, "b")
			receive(t, other, "b")
			s.server.Close()
			if n := s.proxy.Upstreams()[0].Active; n != 0 {
				t.Errorf("%d clients are counted after the end", n)
			}
		}
	})
}

// expectPanic waits for the record of a pair that has panicked, and checks that the
// server was told.
func (s *served) expectPanic() {
	s.t.Helper()
	if r := s.records.Next(s.t); r.By != handler.ByServer || r.Reason != handler.ReasonPanic {
		s.t.Errorf("record %+v", r)
	}
	if n := s.server.TCP.Stats().Panics; n < 1 || n > 2 { // the sides may panic at the same time
		s.t.Errorf("%d panics counted, want 1 or 2", n)
	}
	s.records.None(s.t)
}

// expectReset reads to the end of the stream, which must be a reset. A unix socket cannot
// be reset.
func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, conn)
	if how := ended(err); how != "reset" && (how != "end" || conn.LocalAddr().Network() != "unix") {
		t.Errorf("the stream ended with %v, want a reset", err)
	}
}

// A panic in the client's net.Conn ends its pair, too.
func TestConnectionThatPanics(t *testing.T) {
	for _, method := range []string{"Read", "Write", "CloseWrite", "Close"} {
		t.Run(method, func(t *testing.T) {
			listen := func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
				ln, dial := listenTCP(t)
				return &panicking{WrappingListener: testutil.WrappingListener{Listener: ln}, method: method}, dial
			}
			tr := transport{"wrapped", listen, "tcp", false}
			s := tr.serve(t, proxy.Config{})
			client, upstream := s.pair()
			other, otherUpstream := s.pair()
			switch method {
			case "Read":
				send(t, client, "panic")
			case "Write":
				send(t, upstream, "panic")
			case "CloseWrite":
				closeWrite(t, upstream)
			case "Close":
				upstream.(*net.TCPConn).SetLinger(0)
				upstream.Close()
			}
			expectReset(t, client)
			if method != "Close" {
				expectReset(t, upstream)
			}
			if method == "Write" { // the same as an error of Write
				if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonIOError || !strings.Contains(r.Err.Error(), "as asked") {
					t.Errorf("record %+v", r)
				}
			} else {
				s.expectPanic()
			}
			send(t, other, "a")
			receive(t, otherUpstream, "a")
			other.Close()
			receiveAll(t, otherUpstream, "")
		})
	}
}

// panicking is a listener. One method of its first connection panics.
type panicking struct {
	testutil.WrappingListener
	method string
	second bool
}

func (l *panicking) Accept() (net.Conn, error) {
	conn, err := l.WrappingListener.Accept()
	if err != nil || l.second {
		return conn, err
	}
	l.second = true
	return &panickingConn{WrappedConn: conn.(*testutil.WrappedConn), method: l.method}, nil
}

// panickingConn panics in Read after it has read "panic", in Write of that, or in the first
// call of CloseWrite or Close, before it does anything.
type panickingConn struct {
	*testutil.WrappedConn
	method string
	once   sync.Once
}

func (c *panickingConn) Read(p []byte) (int, error) {
	n, err := c.WrappedConn.Read(p)
	c.panicIf("Read", string(p[:n]) == "panic")
	return n, err
}

func (c *panickingConn) Write(p []byte) (int, error) {
	c.panicIf("Write", string(p) == "panic")
	return c.WrappedConn.Write(p)
}

func (c *panickingConn) CloseWrite() error {
	c.once.Do(func() { c.panicIf("CloseWrite", true) })
	return c.WrappedConn.CloseWrite()
}

func (c *panickingConn) Close() error {
	c.once.Do(func() { c.panicIf("Close", true) })
	return c.WrappedConn.Close()
}

func (c *panickingConn) panicIf(method string, now bool) {
	if c.method == method && now {
		panic("as asked")
	}
}

// The record is written in the goroutine of a side, too.
func TestOnRecordPanics(t *testing.T) {
	for name, listen := range map[string]func(*testing.T) (net.Listener, func() (net.Conn, error)){
		"loop": listenTCP, "goroutine": plain(listenTCP),
	} {
		t.Run(name, func(t *testing.T) {
			ln, dial := listen(t)
			upstream, address := newUpstream(t, "tcp")
			x := &proxy.Proxy{
				Config:   proxy.Config{Upstreams: []string{address}},
				OnRecord: func(handler.Record) { panic("as asked") },
			}
			server := tcptest.NewUnstartedServer(x)
			server.TCP.Log = slog.New(slog.DiscardHandler)
			server.Serve(ln)
			t.Cleanup(server.Close)
			s := &served{t: t, proxy: x, server: server, dial: dial, upstream: upstream}
			client, far := s.pair()
			other, otherFar := s.pair()
			client.Close()
			receiveAll(t, far, "")
			far.Close()
			eventually(t, "the report", func() bool { return server.TCP.Stats().Panics == 1 })
			send(t, other, "a")
			receive(t, otherFar, "a")
			eventually(t, "the end of the client", func() bool { return server.TCP.Stats().Active == 1 })
		})
	}
}
