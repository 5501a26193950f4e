package handler_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	tcptest.Timeout = patience
	testutil.WaitInParallel(8 / testutil.RaceFactor)
	goleak.VerifyTestMain(m)
}

const (
	// limit is a timeout. A client acts within half of it, even on a busy machine.
	limit = testutil.RaceFactor * time.Second

	patience = testutil.Patience
	slack    = testutil.Slack
)

// accepted is a connection that no server has accepted. The test sets the method that
// it needs; the others are missing.
type accepted struct {
	handler.Accepted
	ctx  context.Context
	conn net.Conn
	mode handler.CloseMode

	memory *handler.Memory
}

func (a *accepted) Context() context.Context     { return a.ctx }
func (a *accepted) RemoteAddr() net.Addr         { return a.conn.RemoteAddr() }
func (a *accepted) CloseMode() handler.CloseMode { return a.mode }
func (a *accepted) Socket() (fd int, ok bool)    { return -1, false }
func (a *accepted) TLS() *tls.Conn               { return nil }
func (a *accepted) Memory() *handler.Memory      { return a.memory }
func (a *accepted) Conn() (net.Conn, error)      { return a.conn, nil }
func (a *accepted) Done()                        {}

// served is a handler behind a server, with a function to connect to it.
type served struct {
	t       *testing.T
	server  *tcptest.Server
	dial    func() net.Conn
	frames  *handler.Frames // set by overTLS
	records *records
	gated   *gated          // if the test has set it
	memory  *handler.Memory // of the server; if the test has set it
}

// connect dials, and closes the connection at the end of the test.
func (s *served) connect() net.Conn {
	s.t.Helper()
	conn := s.dial()
	conn.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// transports are the ways to hold the connection of a frame handler. Every test of the
// contract runs over all of them.
var transports = []struct {
	name string
	// listen returns a listener and a function that dials it.
	listen func(t *testing.T) (net.Listener, func() net.Conn)
}{
	{"tcp", func(t *testing.T) (net.Listener, func() net.Conn) {
		return listenNet(t, "tcp", "127.0.0.1:0")
	}},
	{"unix", func(t *testing.T) (net.Listener, func() net.Conn) {
		if runtime.GOOS == "windows" {
			t.Skip("no unix sockets in tests on Windows")
		}
		return listenNet(t, "unix", filepath.Join(t.TempDir(), "s"))
	}},
	{"tcp by goroutine", func(t *testing.T) (net.Listener, func() net.Conn) {
		ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
		return testutil.PlainListener{Listener: ln}, dial
	}},
	{"unix by goroutine", func(t *testing.T) (net.Listener, func() net.Conn) {
		if runtime.GOOS == "windows" {
			t.Skip("no unix sockets in tests on Windows")
		}
		ln, dial := listenNet(t, "unix", filepath.Join(t.TempDir(), "s"))
		return testutil.PlainListener{Listener: ln}, dial
	}},
	{"tcp byte by byte", func(t *testing.T) (net.Listener, func() net.Conn) {
		ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
		return ln, func() net.Conn { return bytewise{dial().(*net.TCPConn)} }
	}},
	{"tcp by goroutine, byte by byte", func(t *testing.T) (net.Listener, func() net.Conn) {
		ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
		return testutil.PlainListener{Listener: ln}, func() net.Conn { return bytewise{dial().(*net.TCPConn)} }
	}},
	{"wrapped", func(t *testing.T) (net.Listener, func() net.Conn) {
		ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
		return testutil.WrappingListener{Listener: ln}, dial
	}},
	{"memory", func(t *testing.T) (net.Listener, func() net.Conn) {
		ln := tcptest.Listen()
		return ln, func() net.Conn {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
	}},
	{"TLS", func(t *testing.T) (net.Listener, func() net.Conn) {
		return listenTLS(t, func(ln net.Listener) net.Listener { return ln })
	}},
	{"TLS by goroutine", func(t *testing.T) (net.Listener, func() net.Conn) {
		return listenTLS(t, func(ln net.Listener) net.Listener { return testutil.PlainListener{Listener: ln} })
	}},
	{"TLS, wrapped", func(t *testing.T) (net.Listener, func() net.Conn) {
		return listenTLS(t, func(ln net.Listener) net.Listener { return testutil.WrappingListener{Listener: ln} })
	}},
	{"TLS, byte by byte", func(t *testing.T) (net.Listener, func() net.Conn) {
		return listenTLS(t, func(ln net.Listener) net.Listener { return ln }, func(conn net.Conn) net.Conn {
			return bytewise{conn.(*net.TCPConn)}
		})
	}},
	{"TLS in memory", func(t *testing.T) (net.Listener, func() net.Conn) {
		ln := tcptest.Listen()
		return tlsListener{ln, ln}, func() net.Conn {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			return tlsClient(t, conn)
		}
	}},
}

// tlsListener says that its server is to speak TLS.
type tlsListener struct {
	net.Listener
	inner net.Listener // what the server listens on
}

func listenTLS(t *testing.T, inner func(net.Listener) net.Listener, beneath ...func(net.Conn) net.Conn) (net.Listener, func() net.Conn) {
	ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
	return tlsListener{ln, inner(ln)}, func() net.Conn {
		conn := dial()
		for _, wrap := range beneath {
			conn = wrap(conn)
		}
		return tlsClient(t, conn)
	}
}

// tlsClient makes the handshake of a client that verifies nothing.
func tlsClient(t *testing.T, conn net.Conn) net.Conn {
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	client.SetDeadline(time.Now().Add(patience))
	if err := client.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return secured{client}
}

// secured is a TLS client whose CloseWrite also sends a FIN.
type secured struct{ *tls.Conn }

func (s secured) CloseWrite() error {
	if err := s.Conn.CloseWrite(); err != nil {
		return err
	}
	return s.NetConn().(interface{ CloseWrite() error }).CloseWrite()
}

// bytewise is a client that sends its shorter messages byte by byte.
type bytewise struct{ *net.TCPConn }

func (b bytewise) Write(p []byte) (int, error) {
	if len(p) > 4<<10 {
		return b.TCPConn.Write(p)
	}
	for i := range p {
		if _, err := b.TCPConn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// skipped reports whether a transport is left out, to save time: with -short, and with the race
// detector, which is slow with crypto, those whose code others run too; on Windows also those that
// differ only where there are event loops.
func skipped(name string) bool {
	rare := strings.HasPrefix(name, "TLS, ") || name == "TLS in memory"
	if runtime.GOOS == "windows" {
		return rare || strings.Contains(name, "TLS by goroutine")
	}
	return rare && (testutil.Reduced())
}

// overTransports runs test for each transport, with a new handler from build.
func overTransports(t *testing.T, build func() *handler.Frames, test func(t *testing.T, s *served)) {
	overTransportsWith(t, false, func(*served) *handler.Frames { return build() }, test)
}

// overTransportsAtOnce is overTransports for tests that wait most of the time: their runs are
// parallel. What a run needs besides the handler, build keeps in its served.
func overTransportsAtOnce(t *testing.T, build func(s *served) *handler.Frames, test func(t *testing.T, s *served)) {
	overTransportsWith(t, true, build, test)
}

func overTransportsWith(t *testing.T, parallel bool, build func(*served) *handler.Frames, test func(t *testing.T, s *served)) {
	for _, transport := range transports {
		if skipped(transport.name) {
			continue
		}
		t.Run(transport.name, func(t *testing.T) {
			if parallel {
				t.Parallel()
			}
			s := &served{t: t, records: newRecords()}
			h := build(s)
			h.OnRecord = s.records.Add
			ln, dial := transport.listen(t)
			s.dial = dial
			s.server = tcptest.NewUnstartedServer(h)
			s.server.TCP.Memory = s.memory
			if own, ok := ln.(tlsListener); ok {
				s.server.TCP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
				ln = own.inner
			}
			s.server.Serve(ln)
			t.Cleanup(s.server.Close)
			test(t, s)
		})
	}
}

// Most tests consist of these functions.
var (
	send         = tcptest.Send
	receive      = tcptest.Receive
	receiveAll   = tcptest.ReceiveAll
	receiveReset = tcptest.ReceiveReset
	closeWrite   = tcptest.CloseWrite
	eventually   = testutil.Eventually
	silenceLog   = testutil.SilenceLog
)

// records collects OnRecord.
type records = testutil.Records[handler.Record]

func newRecords() *records { return testutil.NewRecords[handler.Record]() }

// listenNet listens, and returns a function that dials.
func listenNet(t *testing.T, network, address string) (net.Listener, func() net.Conn) {
	t.Helper()
	ln := testutil.Listen(t, network, address)
	return ln, func() net.Conn {
		conn, err := net.DialTimeout(network, ln.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// endsWith reads to the end of the stream, and returns an error if the result is not
// text.
func endsWith(conn net.Conn, text string) error {
	if got, err := io.ReadAll(conn); err != nil || string(got) != text {
		return fmt.Errorf("read %q to the end, %v; want %q", clip(got), err, text)
	}
	return nil
}

func clip(b []byte) string {
	if len(b) > 80 {
		b = append(bytes.Clone(b[:80]), "..."...)
	}
	return string(b)
}

func echoLine(c *handler.Client, line []byte) error {
	_, err := c.Write(line)
	return err
}

// shutdown drains s for at most d.
func (s *served) shutdown(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.server.Shutdown(ctx)
}
