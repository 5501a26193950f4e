package transport_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
	"wireline/internal/transport"
	"wireline/tcptest"
)

// poll is a connection on a poller, in memory. What arrives, and how much it accepts, is up to
// the test. It checks that it is called as an eventloop.Conn has to be.
type poll struct {
	eventloop.Conn // for the methods that are never called
	t              testing.TB

	// hasty has a Read that has taken everything say so; otherwise only one that finds
	// nothing does. copies has a Write copy what it is given, and the next one report it,
	// as the portable poller does.
	hasty, copies bool

	mu      sync.Mutex
	in      [][]byte // what arrives; a Read takes from one piece at most
	readErr error    // after in
	drained bool     // the last Read has said so

	accepts  int // how many bytes are accepted before a Write would have to wait
	perCall  int // and by one Write; zero for all
	writeErr error
	out      []byte // what was accepted
	left     []byte // what the next Write has to begin with
	copied   []byte
	carried  bool // copied was accepted
	calls    int  // of Write

	watched int // calls of WatchOut
	woken   int // calls of Wake
	fin     bool
	linger  int
	closed  bool
}

func newPoll(t testing.TB) *poll { return &poll{t: t, accepts: 1 << 30, linger: -1} }

// arrive makes pieces arrive.
func (p *poll) arrive(pieces ...[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, piece := range pieces {
		if len(piece) > 0 {
			p.in = append(p.in, bytes.Clone(piece))
		}
	}
}

func (p *poll) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readErr = err
}

// accept makes n bytes of room for output, and carries out what was copied. It reports whether
// Writable has to be called.
func (p *poll) accept(n int) (writable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepts += n
	writable, p.watched = p.watched > 0, 0
	if len(p.copied) > 0 && !p.carried {
		p.copied = p.copied[:p.take(len(p.copied))]
		p.out = append(p.out, p.copied...)
		p.carried = true
	}
	return writable
}

// take returns how many of n bytes are accepted.
func (p *poll) take(n int) int {
	if p.perCall > 0 {
		n = min(n, p.perCall)
	}
	n = min(n, p.accepts)
	p.accepts -= n
	return n
}

// unread is how many bytes have arrived and were not read.
func (p *poll) unread() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, piece := range p.in {
		n += len(piece)
	}
	return n
}

func (p *poll) Read(b []byte) (n int, drained bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.in) == 0 {
		p.drained = p.readErr == nil
		return 0, p.drained, p.readErr
	}
	n = copy(b, p.in[0])
	if p.in[0] = p.in[0][n:]; len(p.in[0]) == 0 {
		p.in = p.in[1:]
	}
	p.drained = p.hasty && len(p.in) == 0 && p.readErr == nil
	return n, p.drained, nil
}

func (p *poll) Look(b []byte) (n int, drained bool, err error) { return p.Read(b) }

func (p *poll) Discard(limit int) (n int) {
	n, _, _ = p.Read(make([]byte, limit))
	return n
}

func (p *poll) Write(parts [3][]byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	b := bytes.Join(parts[:], nil)
	if p.closed || p.fin {
		p.t.Errorf("Write of %d bytes; closed: %v, FIN sent: %v", len(b), p.closed, p.fin)
	}
	if common := min(len(b), len(p.left)); !bytes.Equal(b[:common], p.left[:common]) {
		p.t.Error("a Write does not begin with the bytes that the one before has left")
	}
	if p.writeErr != nil {
		return 0, p.writeErr
	}
	if !p.copies {
		n = p.take(len(b))
		p.out = append(p.out, b[:n]...)
		p.left = bytes.Clone(b[n:])
		return n, nil
	}
	if len(p.copied) > 0 && !p.carried {
		return 0, nil
	}
	n = len(p.copied)
	p.copied, p.carried = nil, false
	if n < len(b) {
		p.copied = bytes.Clone(b[n:])
	}
	p.left = bytes.Clone(p.copied)
	return n, nil
}

func (p *poll) WatchOut(bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched++
	return nil
}

func (p *poll) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.woken++
}

func (p *poll) CloseWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fin = true
	return nil
}

func (p *poll) SetLinger(seconds int) { p.linger = seconds }

func (p *poll) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.t.Error("closed twice")
	}
	p.closed = true
}

func (p *poll) Unsent() int        { return 0 }
func (p *poll) Acknowledged() bool { return true }

// far is the connection of the peer. In the handshake it is a pipe. After that a Write gathers
// what is to arrive, and a Read takes what the poll has accepted; it never waits.
type far struct {
	net.Conn
	poll *poll // nil during the handshake
	sent []byte
}

func (f *far) Read(b []byte) (int, error) {
	if f.poll == nil {
		return f.Conn.Read(b)
	}
	f.poll.mu.Lock()
	defer f.poll.mu.Unlock()
	switch {
	case len(f.poll.out) > 0:
		n := copy(b, f.poll.out)
		f.poll.out = f.poll.out[n:]
		return n, nil
	case f.poll.fin || f.poll.closed:
		return 0, io.EOF
	}
	return 0, os.ErrDeadlineExceeded
}

func (f *far) Write(b []byte) (int, error) {
	if f.poll == nil {
		return f.Conn.Write(b)
	}
	f.sent = append(f.sent, b...)
	return len(b), nil
}

func (f *far) SetWriteDeadline(time.Time) error { return nil }

// ends are both ends of a connection after its handshake. The near one is under test.
type ends struct {
	t    testing.TB
	near *transport.TLS
	poll *poll
	peer *tls.Conn
	far  *far
	log  *testutil.KeyLog

	nearPipe, farPipe *tcptest.Conn // of the handshake
}

// kinds are the ends of a connection that a test runs with.
var kinds = []struct {
	name    string
	client  bool // the end under test
	version uint16
}{
	{"server, TLS 1.3", false, tls.VersionTLS13},
	{"server, TLS 1.2", false, tls.VersionTLS12},
	{"client, TLS 1.3", true, tls.VersionTLS13},
	{"client, TLS 1.2", true, tls.VersionTLS12},
}

func overKinds(t *testing.T, test func(t *testing.T, e *ends)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			e := handshake(t, kind.client, kind.version)
			e.use(newPoll(t))
			test(t, e)
		})
	}
}

// server13 is an end as a server of TLS 1.3.
func server13(t testing.TB) *ends {
	t.Helper()
	e := handshake(t, false, tls.VersionTLS13)
	e.use(newPoll(t))
	return e
}

// handshake returns the ends of a connection that is not on a poller.
func handshake(t testing.TB, client bool, version uint16) *ends {
	t.Helper()
	e := &ends{t: t, log: new(testutil.KeyLog)}
	e.nearPipe, e.farPipe = tcptest.Pipe()
	t.Cleanup(func() { e.nearPipe.Close(); e.farPipe.Close() })
	e.far = &far{Conn: e.farPipe}
	server := &tls.Config{
		Certificates: []tls.Certificate{certificate(t)}, MinVersion: version, MaxVersion: version,
		SessionTicketsDisabled: true,
	}
	config := &tls.Config{InsecureSkipVerify: true, KeyLogWriter: e.log}
	if client {
		e.near, e.peer = transport.Client(e.nearPipe, config), tls.Server(e.far, server)
	} else {
		e.near, e.peer = transport.Server(e.nearPipe, server), tls.Client(e.far, config)
	}
	done := make(chan error, 1)
	go func() { done <- e.peer.Handshake() }()
	if err := e.near.Conn().Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := testutil.Await(t, "the handshake", done); err != nil {
		t.Fatal(err)
	}
	return e
}

var certificate = func() func(t testing.TB) tls.Certificate {
	var once sync.Once
	var c tls.Certificate
	return func(t testing.TB) tls.Certificate {
		once.Do(func() { c = testutil.SelfSigned(t) })
		return c
	}
}()

// use puts the near end on p.
func (e *ends) use(p *poll) {
	e.poll, e.far.poll = p, p
	e.near.Use(p, nil)
}

// keys are those of what arrives, and of what the near end, a server, sends.
func (e *ends) keys() (in, out *testutil.RecordKeys) {
	return e.log.Keys(e.t, e.peer.ConnectionState())
}

// records returns the ciphertext of p from the peer, one write for each part.
func (e *ends) records(parts ...[]byte) []byte {
	e.t.Helper()
	for _, part := range parts {
		if _, err := e.peer.Write(part); err != nil {
			e.t.Fatal(err)
		}
	}
	return e.takeSent()
}

// closeNotify returns that of the peer.
func (e *ends) closeNotify() []byte {
	e.peer.CloseWrite()
	return e.takeSent()
}

func (e *ends) takeSent() []byte {
	sent := e.far.sent
	e.far.sent = nil
	return sent
}

// received returns what the peer can read, and how it ends: nil if nothing has ended.
func (e *ends) received() ([]byte, error) {
	var got bytes.Buffer
	buffer := make([]byte, 64<<10)
	for {
		n, err := e.peer.Read(buffer)
		got.Write(buffer[:n])
		switch {
		case err == nil:
		case os.IsTimeout(err):
			return got.Bytes(), nil
		default:
			return got.Bytes(), err
		}
	}
}

// readAll reads, with a buffer of size bytes, until the input is drained.
func (e *ends) readAll(size int) (got []byte, err error) {
	buffer := make([]byte, size)
	for {
		n, drained, err := e.near.Read(buffer)
		got = append(got, buffer[:n]...)
		if n > 0 && err != nil {
			e.t.Errorf("Read returned %d bytes and %v", n, err)
		}
		if err != nil || drained {
			return got, err
		}
	}
}

// write calls Write, and WatchOut as its contract demands.
func (e *ends) write(p []byte) int {
	e.t.Helper()
	n, err := e.near.Write([3][]byte{p})
	if err != nil {
		e.t.Fatal(err)
	}
	if n < len(p) {
		e.near.WatchOut(false)
	}
	return n
}

// accept makes room for n bytes of output.
func (e *ends) accept(n int) {
	if e.poll.accept(n) {
		e.near.Writable()
	}
}

// pattern returns n bytes that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8 ^ i*7)
	}
	return b
}

// wholeRecords returns how many bytes of stream are whole records.
func wholeRecords(stream []byte) (n int) {
	for len(stream)-n >= 5 {
		size := 5 + int(stream[n+3])<<8 + int(stream[n+4])
		if n+size > len(stream) {
			break
		}
		n += size
	}
	return n
}

// countRecords returns how many records are whole in stream.
func countRecords(stream []byte) (records int) {
	for n := wholeRecords(stream); n > 0; records++ {
		size := 5 + int(stream[3])<<8 + int(stream[4])
		stream, n = stream[size:], n-size
	}
	return records
}
