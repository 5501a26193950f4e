package eventloop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/eventloop"
	"wireline/tcptest"
)

// transport is a kind of connection, on a poller.
type transport struct {
	name string

	// pair returns a connection for the poller, and its peer.
	pair func(t testing.TB) (conn, peer net.Conn)

	// add puts conn on the poller; nil is the portable one.
	add func(s *served, conn net.Conn)

	waits  bool // its Read and Write wait
	pieces bool // a short read does not say that everything was read
	resets bool // the peer sees a Reset as one
	looks  bool // Unsent sees how far a Write is that waits
}

func (tr transport) portable() bool { return tr.add == nil }

// transports are all kinds there are; suite_linux_test.go has more.
var transports = []transport{
	{name: "tcp", pair: tcpPair, waits: !isUnix, resets: true, looks: true},
	{name: "unix", pair: unixPair, waits: !isUnix, pieces: true, looks: true},
	{name: "announced", pair: within(tcpPair, func(c net.Conn) net.Conn { return announced{c} }), waits: !isUnix, resets: true, looks: true},
	{name: "socket inside", pair: within(tcpPair, func(c net.Conn) net.Conn { return struct{ *net.TCPConn }{c.(*net.TCPConn)} }), waits: true, resets: true, looks: true},
	{name: "wrapped", pair: within(tcpPair, func(c net.Conn) net.Conn { return opaque{c} }), waits: true, resets: true},
	{name: "memory", pair: memoryPair, waits: true, resets: true, looks: true},
	{name: "tls", pair: tlsPair, waits: true, resets: true},
}

const isUnix = runtime.GOOS != "windows" && runtime.GOOS != "aix"

// announced is a connection behind a PROXY header, as package tcp has it.
type announced struct{ net.Conn }

func (a announced) Socket() net.Conn     { return a.Conn }
func (a announced) CloseWrite() error    { return a.Conn.(*net.TCPConn).CloseWrite() }
func (a announced) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// opaque is a connection of which nothing is known, but what is in it.
type opaque struct{ net.Conn }

func (o opaque) NetConn() net.Conn { return o.Conn }
func (o opaque) CloseWrite() error { return o.Conn.(*net.TCPConn).CloseWrite() }

func within(pair func(testing.TB) (net.Conn, net.Conn), wrap func(net.Conn) net.Conn) func(testing.TB) (net.Conn, net.Conn) {
	return func(t testing.TB) (conn, peer net.Conn) {
		conn, peer = pair(t)
		return wrap(conn), peer
	}
}

func tcpPair(t testing.TB) (conn, peer net.Conn) { return socketPair(t, "tcp", "127.0.0.1:0") }

func unixPair(t testing.TB) (conn, peer net.Conn) {
	if runtime.GOOS == "windows" {
		t.Skip("no unix sockets in tests on Windows")
	}
	return socketPair(t, "unix", filepath.Join(t.TempDir(), "s"))
}

func socketPair(t testing.TB, network, addr string) (conn, peer net.Conn) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return conn, peer
}

func memoryPair(testing.TB) (conn, peer net.Conn) {
	client, server := tcptest.PipeSize(4096)
	return server, client
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func tlsPair(t testing.TB) (conn, peer net.Conn) {
	t.Helper()
	inner, outer := tcpPair(t)
	server := tls.Server(inner, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	client := tls.Client(outer, &tls.Config{InsecureSkipVerify: true})
	failed := make(chan error, 1)
	go func() { failed <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return server, client
}

// overTransports runs a test over each kind of connection.
func overTransports(t *testing.T, test func(t *testing.T, tr transport)) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) { test(t, tr) })
	}
}

// served is a connection on a poller, and its handler; the test has the other end.
type served struct {
	eventloop.Conn
	t    testing.TB
	peer net.Conn

	ready   readyFunc
	expired func() // may be nil

	over   chan struct{} // the poller has done with it
	inside atomic.Int32  // calls of Ready at this moment
	calls  atomic.Int32  // of Ready
	outs   atomic.Int32  // calls of Writable
	vain   atomic.Int32  // of those that led to nothing
	quit   atomic.Bool   // Ready is to close
	closed bool          // of Ready

	mu      sync.Mutex // of what is written
	pending []byte
	taken   int   // what Write has reported
	failed  error // by Write
}

type readyFunc = func(s *served, w *eventloop.Worker, ev eventloop.Event) (more bool)

// make puts a new connection on the poller. It still has to be started.
func (tr transport) make(t testing.TB, ready readyFunc) *served {
	t.Helper()
	conn, peer := tr.pair(t)
	return tr.serve(t, conn, peer, ready)
}

func (tr transport) serve(t testing.TB, conn, peer net.Conn, ready readyFunc) *served {
	t.Helper()
	peer.SetDeadline(time.Now().Add(patience))
	s := &served{t: t, peer: peer, ready: ready, over: make(chan struct{})}
	if tr.add != nil {
		tr.add(s, conn)
	} else {
		s.Conn = eventloop.NewPortable(conn, s, func() { close(s.over) })
	}
	return s
}

// start starts a new connection, which is closed at the test's end.
func (tr transport) start(t testing.TB, ready readyFunc) *served {
	t.Helper()
	s := tr.make(t, ready)
	s.begin()
	return s
}

func (s *served) begin() {
	s.t.Cleanup(s.end)
	s.Start()
}

func (s *served) end() {
	s.quit.Store(true)
	s.Wake()
	defer s.peer.Close()
	select {
	case <-s.over:
	case <-time.After(patience):
		s.t.Errorf("the poller has not done with the connection in %v", patience)
	}
}

func (s *served) Ready(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	s.calls.Add(1)
	if n := s.inside.Add(1); n != 1 {
		s.t.Errorf("%d goroutines serve one connection", n)
	}
	defer s.inside.Add(-1)
	switch {
	case s.closed:
		s.t.Error("Ready is called after Close or Remove")
	case s.quit.Load():
		s.closed = true
		s.SetLinger(0)
		s.Reset()
		s.Close()
	default:
		return s.ready(s, w, ev)
	}
	return false
}

func (s *served) Slow()    {}
func (s *served) Expired() { call(s.expired) }

func (s *served) Writable() {
	s.outs.Add(1)
	if tried, n := s.flush(false); tried && n == 0 {
		s.vain.Add(1)
	}
}

// readAll reads until nothing is left, and returns what Read says then.
func (s *served) readAll() (text []byte, err error) {
	var p [4096]byte
	for {
		n, drained, err := s.Read(p[:])
		text = append(text, p[:n]...)
		if err != nil || n == 0 && drained {
			return text, err
		}
	}
}

// write queues b and sends what can be sent.
func (s *served) write(b []byte, returning bool) {
	s.mu.Lock()
	s.pending = append(s.pending, b...)
	s.mu.Unlock()
	s.flush(returning)
}

// flush sends what can be sent, if there is anything, and returns how many bytes Write
// has taken.
func (s *served) flush(returning bool) (tried bool, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 || s.failed != nil {
		return false, 0
	}
	cut := len(s.pending) / 3
	n, err := s.Write([3][]byte{s.pending[:cut], nil, s.pending[cut:]})
	s.pending = s.pending[n:]
	s.taken += n
	s.failed = err
	if err == nil && len(s.pending) > 0 {
		if err := s.WatchOut(returning); err != nil {
			s.t.Errorf("WatchOut: %v", err)
		}
	}
	return true, n
}

func (s *served) state() (taken, pending int, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, len(s.pending), s.failed
}

// echoes sends back what has come.
func echoes(s *served, _ *eventloop.Worker, _ eventloop.Event) bool {
	text, _ := s.readAll()
	s.write(text, true)
	return false
}

func (s *served) send(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.peer, text); err != nil {
		s.t.Fatalf("write: %v", err)
	}
}

// receive demands exactly want next.
func (s *served) receive(want []byte) {
	s.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(s.peer, got); err != nil || !bytes.Equal(got, want) {
		s.t.Fatalf("the peer has read %d bytes, %v; want %d, equal: %t", n, err, len(want), bytes.Equal(got, want))
	}
}

// bytesOf returns n bytes that are not all the same.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i)
	}
	return b
}
