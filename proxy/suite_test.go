package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	tcptest.Timeout = patience
	testutil.WaitInParallel(16 / testutil.RaceFactor)
	goleak.VerifyTestMain(m)
}

// transport is a way from a client through a proxy to its upstream.
type transport struct {
	name     string
	listen   func(t *testing.T) (net.Listener, func() (net.Conn, error))
	upstream string // tcp, unix or tls
	noLoops  bool   // the upstream's side is served by a goroutine too
}

// transports are the ways that pairs can be held. Every test of the contract runs
// over all of them.
var transports = []transport{
	{"tcp", listenTCP, "tcp", false},
	{"unix", listenUnix, "unix", false},
	{"tcp to unix", listenTCP, "unix", false},
	{"tcp by goroutine", plain(listenTCP), "tcp", true},
	{"unix by goroutine", plain(listenUnix), "unix", true},
	{"TLS", listenTLS, "tcp", false},
	{"TLS of the listener", listenForeignTLS, "tcp", false},
	{"memory", listenMemory, "tcp", false},
	{"TLS by goroutine", plainTLS, "tcp", true},
	{"TLS of the listener, by goroutine", listenForeignTLS, "tcp", true},
	{"memory by goroutine", listenMemory, "tcp", true},
	{"tcp to TLS", listenTCP, "tls", false},
	{"TLS to TLS", listenTLS, "tls", false},
	{"tcp to TLS, by goroutine", plain(listenTCP), "tls", true},
	{"TLS to TLS, by goroutine", plainTLS, "tls", true},
}

// rare are transports that are left out with -short: the others run their code too.
var rare = []string{
	"tcp to unix", "unix by goroutine", "TLS by goroutine", "TLS of the listener, by goroutine",
	"memory by goroutine", "tcp to TLS, by goroutine", "TLS to TLS",
}

// named returns the transport of that name.
func named(name string) transport {
	return transports[slices.IndexFunc(transports, func(tr transport) bool { return tr.name == name })]
}

func listenTCP(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	return listenNet(t, "tcp", "127.0.0.1:0")
}

func listenUnix(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	if runtime.GOOS == "windows" {
		t.Skip("no unix sockets in tests on Windows")
	}
	return listenNet(t, "unix", filepath.Join(t.TempDir(), "s"))
}

func listenMemory(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	ln := tcptest.Listen()
	return ln, func() (net.Conn, error) { return ln.Dial() }
}

// listenTLS is for a server that speaks TLS itself.
func listenTLS(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	ln, dial := listenTCP(t)
	return ownTLS{ln, ln}, dialTLS(dial)
}

// plainTLS is listenTLS for a server that serves its clients by goroutines.
func plainTLS(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	ln, dial := listenTCP(t)
	return ownTLS{ln, testutil.PlainListener{Listener: ln}}, dialTLS(dial)
}

// listenForeignTLS is for a server whose listener speaks TLS.
func listenForeignTLS(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	ln, dial := listenTCP(t)
	server := &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
	return tlsListener{ln, server}, dialTLS(dial)
}

// dialTLS adds the client's end of TLS to what dial returns.
func dialTLS(dial func() (net.Conn, error)) func() (net.Conn, error) {
	client := &tls.Config{InsecureSkipVerify: true}
	return func() (net.Conn, error) {
		conn, err := dial()
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, client), nil
	}
}

// ownTLS is a listener whose server speaks TLS on what inner accepts.
type ownTLS struct {
	net.Listener
	inner net.Listener
}

// tlsListener is tls.NewListener with the deadline of the listener inside.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(conn, l.config), nil
}

func (l tlsListener) SetDeadline(t time.Time) error { return testutil.SetDeadline(l.Listener, t) }

// plain hides what a listener is, so that its connections are relayed by goroutines.
func plain(listen func(*testing.T) (net.Listener, func() (net.Conn, error))) func(*testing.T) (net.Listener, func() (net.Conn, error)) {
	return func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
		ln, dial := listen(t)
		return testutil.PlainListener{Listener: ln}, dial
	}
}

// served is a proxy that serves, and its upstream.
type served struct {
	t        *testing.T
	proxy    *proxy.Proxy
	server   *tcptest.Server
	dial     func() (net.Conn, error)
	upstream net.Listener // of the first upstream, if serve made one
	records  *records
	cfg      proxy.Config // in force
}

// serve starts a proxy with cfg. Without upstreams in it, there is one.
func (tr transport) serve(t *testing.T, cfg proxy.Config) *served {
	t.Helper()
	return tr.serveWith(t, cfg, nil)
}

// serveWith is serve with a Proxy.TLSConfig.
func (tr transport) serveWith(t *testing.T, cfg proxy.Config, own *tls.Config) *served {
	t.Helper()
	s, ln := tr.prepare(t, cfg, own)
	s.server.Serve(ln)
	t.Cleanup(s.server.Close)
	return s
}

// prepare makes a proxy whose server is to serve ln.
func (tr transport) prepare(t *testing.T, cfg proxy.Config, own *tls.Config) (_ *served, ln net.Listener) {
	t.Helper()
	if cfg.Pool.Reuse && runtime.GOOS == "windows" {
		t.Skip("Pool.Reuse does not work on Windows")
	}
	s := &served{t: t, records: newRecords()}
	if len(cfg.Upstreams) == 0 {
		var name string
		s.upstream, name = newUpstream(t, tr.upstream)
		cfg.Upstreams = []string{name}
	}
	if tr.upstream == "tls" {
		cfg.TLS = proxy.TLS{Enable: true, CA: upstreamCA(t), ServerName: "upstream"}
	}
	ln, dial := tr.listen(t)
	s.dial = dial
	s.cfg = cfg
	s.proxy = &proxy.Proxy{Config: cfg, TLSConfig: own}
	if tr.noLoops {
		proxy.WithoutLoops(s.proxy)
	}
	if err := s.proxy.Validate(); err != nil {
		t.Fatal(err)
	}
	s.proxy.OnRecord = s.records.Add
	s.proxy.Log = slog.New(slog.DiscardHandler)
	s.server = tcptest.NewUnstartedServer(s.proxy)
	s.server.TCP.Log = s.proxy.Log
	if own, ok := ln.(ownTLS); ok {
		s.server.TCP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
		ln = own.inner
	}
	return s, ln
}

// newUpstream returns a listener and its name in a configuration.
func newUpstream(t *testing.T, network string) (net.Listener, string) {
	t.Helper()
	if network == "tls" {
		ln, name := newUpstream(t, "tcp")
		return listenHandshakes(t, ln, upstreamConfig(t)), name
	}
	listen := listenTCP
	if network == "unix" {
		listen = listenUnix
	}
	ln, _ := listen(t)
	t.Cleanup(func() { ln.Close() })
	if network == "unix" {
		return ln, "unix:" + ln.Addr().String()
	}
	return ln, ln.Addr().String()
}

// deadPort is an address where nobody listens.
func deadPort(t *testing.T) string {
	t.Helper()
	ln, name := newUpstream(t, "tcp")
	ln.Close()
	return name
}

// refusedPort is a deadPort that nobody else is given during the test: a connection
// comes from it.
func refusedPort(t *testing.T) string {
	t.Helper()
	ln, name := newUpstream(t, "tcp")
	conn, err := net.Dial("tcp", name)
	if err != nil {
		t.Fatal(err)
	}
	other := acceptFrom(t, ln)
	t.Cleanup(func() { conn.Close(); other.Close() })
	return conn.LocalAddr().String()
}

// connect dials the proxy, and closes the connection at the test's end.
func (s *served) connect() net.Conn {
	s.t.Helper()
	conn, err := s.dial()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.watch(conn)
}

// accept returns what the proxy has connected to the upstream.
func (s *served) accept() net.Conn {
	s.t.Helper()
	return s.watch(acceptFrom(s.t, s.upstream))
}

func (s *served) watch(conn net.Conn) net.Conn {
	conn.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

func acceptFrom(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	testutil.SetDeadline(ln, time.Now().Add(patience))
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// pair returns the client and the upstream of a pair that has relayed a byte each way.
func (s *served) pair() (client, upstream net.Conn) {
	s.t.Helper()
	client, upstream, err := s.tryPair()
	if err != nil {
		s.t.Fatal(err)
	}
	return client, upstream
}

// tryPair is pair for a proxy that may end the pair meanwhile.
func (s *served) tryPair() (client, upstream net.Conn, err error) {
	s.t.Helper()
	client = s.connect()
	if _, err := io.WriteString(client, ">"); err != nil {
		return nil, nil, err
	}
	upstream = s.accept()
	return client, upstream, errors.Join(tryReceive(upstream, ">"), tryRelay(upstream, client, "<"))
}

// tryRelay sends text from one connection to another. Both may be old.
func tryRelay(from, to net.Conn, text string) error {
	from.SetDeadline(time.Now().Add(patience))
	to.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(from, text)
	return errors.Join(err, tryReceive(to, text))
}

func tryReceive(conn net.Conn, text string) error {
	got := make([]byte, len(text))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		return fmt.Errorf("received %q, %w; want %q", got[:n], err, text)
	}
	return nil
}

// shutdown drains within d.
func (s *served) shutdown(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.server.Shutdown(ctx)
}

// overTransportsAtOnce is overTransports for tests that wait most of the time: they run beside
// each other.
func overTransportsAtOnce(t *testing.T, test func(t *testing.T, tr transport)) {
	t.Parallel()
	overTransports(t, test)
}

// overTransports runs test over each transport, all at the same time. With -short, it leaves
// out the rare ones.
func overTransports(t *testing.T, test func(t *testing.T, tr transport)) {
	for _, tr := range transports {
		if testutil.Reduced() && slices.Contains(rare, tr.name) {
			continue
		}
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			test(t, tr)
		})
	}
}

// What most tests consist of.
var (
	send         = tcptest.Send
	receive      = tcptest.Receive
	receiveAll   = tcptest.ReceiveAll
	receiveReset = tcptest.ReceiveReset
	closeWrite   = tcptest.CloseWrite
	eventually   = testutil.Eventually
)

const (
	patience = testutil.Patience
	slack    = testutil.Slack
)

// records collects OnRecord.
type records = testutil.Records[handler.Record]

func newRecords() *records { return testutil.NewRecords[handler.Record]() }

// listenNet listens, and returns a function that dials.
func listenNet(t *testing.T, network, address string) (net.Listener, func() (net.Conn, error)) {
	t.Helper()
	ln := testutil.Listen(t, network, address)
	return ln, func() (net.Conn, error) { return net.DialTimeout(network, ln.Addr().String(), patience) }
}

func isReset(err error) bool {
	return netconn.IsReset(err) || err != nil && strings.Contains(err.Error(), "forcibly closed")
}

// ended reports how the stream ended: not at all, with its end, or with an error.
func ended(err error) string {
	var timeout net.Error
	switch {
	case err == nil, err == io.EOF:
		return "end"
	case isReset(err):
		return "reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "open"
	}
	return err.Error()
}

// pattern is n bytes that do not repeat in a hurry.
func pattern(n int) string {
	b := make([]byte, n)
	x := uint32(n)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}
