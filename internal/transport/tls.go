package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/outq"
)

const (
	// maxRecord is the most plaintext that a record carries (RFC 8446, 5.1).
	maxRecord = 16 << 10

	// maxAhead is how much plaintext is encrypted before the connection accepts it.
	maxAhead = 4 * maxRecord

	// maxQueued bounds the ciphertext in the queue while more is read: a peer that asks for
	// new keys again and again, and reads none of the answers, would make it grow.
	maxQueued = 4 * maxAhead

	// hastyTime is how long CloseNow waits.
	hastyTime = time.Millisecond
)

// ErrProtocol is joined with the errors of Read that the peer's records cause. The peer gets an
// alert.
var ErrProtocol = errors.New("TLS")

// ErrTruncated is returned by Read when the peer has closed the connection without a
// close_notify: bytes may be missing at the end (RFC 8446, 6.1). It matches
// io.ErrUnexpectedEOF.
var ErrTruncated = fmt.Errorf("TLS: closed without close_notify: %w", io.ErrUnexpectedEOF)

// TLS is the server's or the client's end of a TLS connection. Server and Client make one over
// a net.Conn, for the handshake. After that Use puts it on a poller: then it is a Transport, and
// nothing of it waits. It has no goroutine, and only what crypto/tls keeps as memory.
//
// crypto/tls lets a Read be repeated after a timeout, and keeps what it has of a record. That
// is all that this needs: see ciphertextConn.
//
// The methods are called as those of an eventloop.Conn.
type TLS struct {
	conn *tls.Conn
	base net.Conn       // beneath conn, for the handshake and after Release
	poll eventloop.Conn // nil while conn is not on a poller

	socket func() (fd int, ok bool) // see Socket

	// The serving goroutine's.
	rare    *rare
	records records
	drained bool // this Read has taken everything from poll
	hangup  bool // poll has told of the end: no further event comes
	looking bool // this Read is a Look
	peeking bool // this Read is a Peek
	arrived bool // the last Read has found ciphertext
	unheard bool // poll has told of no input yet; see useNew
	eof     bool // the end of poll's stream was read
	failed  bool // conn.Read has failed for good
	reset   bool // Close sends a RST
	bare    bool // CloseWrite and Close send no close_notify
	hasty   bool // CloseNow was called

	// mu is taken last: conn calls ciphertextConn with locks of its own. It also guards the flags
	// before it.
	writing  bool        // Write is under way
	corked   bool        // records are gathered in the queue
	finDue   bool        // the FIN goes behind the queue
	ended    bool        // CloseWrite was called: nothing more is sent
	full     bool        // Read stopped because the queue is too long
	input    bool        // and has to be called again
	holds    atomic.Bool // queue is not nil; may be read without mu. That of go.uber.org is larger
	owed     int32       // plaintext in the queue that no Write has reported yet
	mu       sync.Mutex
	queue    *outq.Queue // ciphertext; nil while there is none
	writeErr error       // of poll
}

// rare is what few connections have, and not for long. It belongs to the serving goroutine.
type rare struct {
	broken   error  // of poll.Read
	readErr  error  // of conn.Read, after the bytes that came with it
	rest     []byte // read from the connection, and not by crypto/tls yet
	peekLeft int    // bytes that a Peek may still read
	ahead    byte   // plaintext that it has found; valid if hasAhead
	hasAhead bool
}

// rarely returns rare, and creates it if necessary.
func (t *TLS) rarely() *rare {
	if t.rare == nil {
		t.rare = new(rare)
	}
	return t.rare
}

// readErr returns the error with which conn.Read has failed.
func (t *TLS) readErr() error {
	if t.rare == nil {
		return nil
	}
	return t.rare.readErr
}

// keep notes bytes that were read from the connection, and not by crypto/tls yet.
func (t *TLS) keep(rest []byte) {
	if len(rest) > 0 {
		r := t.rarely()
		r.rest = append(r.rest, rest...)
	}
}

// queued is how much ciphertext waits to be sent. The caller holds mu.
func (t *TLS) queued() int {
	if t.queue == nil {
		return 0
	}
	return t.queue.Size()
}

// enqueue adds ciphertext to the queue. The caller holds mu.
func (t *TLS) enqueue(p []byte) {
	if len(p) == 0 {
		return
	}
	if t.queue == nil {
		t.queue = queues.Get().(*outq.Queue)
		t.holds.Store(true)
	}
	t.queue.Add(p)
}

// queues are those of connections that have sent everything, with their buffers.
var queues = sync.Pool{New: func() any { return new(outq.Queue) }}

// leave gives back the queue, which is empty. The caller holds mu.
func (t *TLS) leave() {
	t.queue.Reset()
	queues.Put(t.queue)
	t.queue = nil // an idle connection keeps no buffer
	t.holds.Store(false)
}

// Server returns the server's end of a connection, before its handshake.
func Server(conn net.Conn, config *tls.Config) *TLS {
	t := &TLS{base: conn}
	t.conn = tls.Server((*ciphertextConn)(t), config)
	return t
}

// Client returns the client's end of a connection, before its handshake.
func Client(conn net.Conn, config *tls.Config) *TLS {
	t := &TLS{base: conn}
	t.conn = tls.Client((*ciphertextConn)(t), config)
	return t
}

// Of returns the TLS that conn belongs to, or nil if Server or Client have not made it. conn
// may be nil.
func Of(conn *tls.Conn) *TLS {
	if conn == nil {
		return nil
	}
	c, _ := conn.NetConn().(*ciphertextConn)
	return (*TLS)(c)
}

// Conn returns the connection for use by crypto/tls's rules.
func (t *TLS) Conn() *tls.Conn { return t.conn }

// Base returns the connection beneath.
func (t *TLS) Base() net.Conn { return t.base }

// SetBase sets the connection beneath, for after Release. nil is allowed while TLS is on a
// poller.
func (t *TLS) SetBase(conn net.Conn) { t.base = conn }

// SetSocket sets where Socket gets the connection beneath.
func (t *TLS) SetSocket(take func() (fd int, ok bool)) { t.socket = take }

// Socket returns the socket beneath if there is no net.Conn around it, as Accepted.Socket of
// package handler.
func (t *TLS) Socket() (fd int, ok bool) {
	take := t.socket
	if take == nil {
		return -1, false
	}
	t.socket = nil
	return take()
}

// Use puts the connection on a poller: poll serves what was the connection beneath, and is not
// started yet, or the caller serves it. rest was read from it, and not by the handshake. The
// handshake is complete. What it has read beyond its end brings no event, so Use wakes the
// handler.
func (t *TLS) Use(poll eventloop.Conn, rest []byte) {
	t.poll, t.input = poll, true
	t.keep(rest) // behind what Release has kept
	poll.Wake()
}

// useNew is Use for a poll that nobody has read from. It tells of input that is there already. So until
// it does, Read takes only what the handshake has read, and does not ask the system.
func (t *TLS) useNew(poll eventloop.Conn) {
	t.Use(poll, nil)
	t.unheard = t.rare == nil // otherwise Release may have kept something
}

// Release takes the connection off its poller, which must have given it up. rest is what
// Remove of the poller has returned. Conn can be used by its new owner then.
func (t *TLS) Release(rest []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(rest)
	t.poll = nil
}

// Arrived reports whether the last Read or Look has found ciphertext.
func (t *TLS) Arrived() bool { return t.arrived }

// Partial reports whether the last Read has left a part of a record.
func (t *TLS) Partial() bool { return t.records.within() }

// Buffered returns how many bytes of ciphertext were read and not decrypted yet: a part of a
// record. For the serving goroutine.
func (t *TLS) Buffered() int {
	n := t.records.partial()
	if t.rare != nil {
		n += len(t.rare.rest)
	}
	return n
}

// Read implements eventloop.Transport.
func (t *TLS) Read(p []byte) (n int, drained bool, err error) {
	t.arrived = false
	if t.failed {
		return t.poll.Read(p) // ciphertext, for a caller that throws it away
	}
	if err := t.readErr(); err != nil {
		t.failed = true
		return 0, false, err
	}
	n = t.takeAhead(p)
	t.drained = t.unheard
	for n < len(p) {
		m, err := t.conn.Read(p[n:])
		n += m
		switch {
		case err == nil:
		case err == errWouldBlock:
			return n, true, nil
		default:
			err = t.explain(err)
			t.rarely().readErr = err
			if n > 0 {
				return n, false, nil
			}
			t.failed = true
			return 0, false, err
		}
	}
	return n, false, nil
}

// explain tells the end of the stream from an end that anybody on the way could have made up,
// and from a reset of which a write has been told: the system tells only one call.
func (t *TLS) explain(err error) error {
	switch {
	case t.rare != nil && t.rare.broken != nil:
		return t.rare.broken
	case !t.eof && err == io.EOF:
		return io.EOF
	}
	ended := err == io.EOF || err == io.ErrUnexpectedEOF
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.writeErr != nil && ended:
		return t.writeErr
	case t.writeErr != nil: // also because a KeyUpdate could not be answered: its new keys are not used
		return fmt.Errorf("%w, then %w", t.writeErr, err)
	case !ended:
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return ErrTruncated
}

// queueIsFull reports whether so much is queued that nothing may be read: reading could make
// it more. Ready reports input again when there is room, or when writing has failed.
func (t *TLS) queueIsFull() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.full = t.queued() > maxQueued && t.writeErr == nil
	return t.full
}

// Look implements eventloop.Transport.
func (t *TLS) Look(p []byte) (n int, drained bool, err error) {
	t.looking, t.unheard = true, false
	defer func() { t.looking = false }()
	return t.Read(p)
}

// Discard implements eventloop.Transport. It counts ciphertext, and decrypts nothing.
func (t *TLS) Discard(limit int) (n int) { return t.poll.Discard(limit) }

// Write implements eventloop.Transport. It encrypts up to maxAhead of the parts before the
// connection accepts them. They count as written when it has accepted all of that.
func (t *TLS) Write(parts [3][]byte) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if t.sendLocked(); t.writeErr != nil || t.queued() > 0 {
			return n, t.writeErr
		}
		n += int(t.owed)
		t.owed = 0
		b, buffer := chunk(parts, n)
		if len(b) == 0 {
			return n, nil
		}
		if err := t.encryptLocked(b); err != nil {
			if t.writeErr == nil { // Read has sent an alert
				err = fmt.Errorf("%w: %w", ErrProtocol, err)
			}
			return n, err
		}
		t.owed = int32(len(b))
		if buffer != nil {
			joined.Put(buffer)
		}
	}
}

// encryptLocked has crypto/tls write b to ciphertextConn, without mu.
func (t *TLS) encryptLocked(b []byte) error {
	t.writing, t.corked = true, len(b) > maxRecord
	t.mu.Unlock()
	_, err := t.conn.Write(b)
	t.mu.Lock()
	t.writing, t.corked = false, false
	return err
}

// sendLocked sends what the connection accepts of the queue.
func (t *TLS) sendLocked() {
	for t.writeErr == nil && t.queued() > 0 {
		head := t.queue.Head()
		n, err := t.poll.Write([3][]byte{head})
		t.queue.Take(n)
		t.writeErr = err
		if n < len(head) {
			return
		}
		if t.queued() == 0 {
			t.leave()
		}
	}
}

// chunk returns what to encrypt next of parts, without the first skip bytes: up to maxAhead. If
// it needs a buffer for that, buffer is to be put back into joined.
func chunk(parts [3][]byte, skip int) (b []byte, buffer *[maxAhead]byte) {
	for _, part := range parts {
		skipped := min(skip, len(part))
		skip -= skipped
		part = part[skipped:]
		switch {
		case len(part) == 0:
		case len(b) == 0:
			b = part[:min(len(part), maxAhead)]
		case len(b) < maxAhead:
			if buffer == nil {
				buffer = joined.Get().(*[maxAhead]byte)
				b = append(buffer[:0], b...)
			}
			b = append(b, part[:min(len(part), maxAhead-len(b))]...)
		}
	}
	return b, buffer
}

// joined has the buffers of chunk.
var joined = sync.Pool{New: func() any { return new([maxAhead]byte) }}

// WatchOut implements eventloop.Transport.
func (t *TLS) WatchOut(returning bool) error { return t.poll.WatchOut(returning) }

// Writable is called when the connection accepts output, before the handler writes. It sends
// what crypto/tls has written by itself, and the FIN behind that.
func (t *TLS) Writable() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sendLocked()
	if t.full && (t.queued() <= maxQueued || t.writeErr != nil) {
		t.full, t.input = false, true
		t.poll.Wake()
	}
	switch {
	case t.writeErr != nil: // the next Write, and the next Read, report it
	case t.queued() > 0:
		t.writeErr = t.poll.WatchOut(false)
	case t.finDue:
		t.finDue = false
		t.poll.CloseWrite()
	}
}

// Ready is called with the events of the poller. It adds those that this TLS has kept back.
func (t *TLS) Ready(ev eventloop.Event) eventloop.Event {
	if ev&eventloop.Hup != 0 {
		t.hangup = true // no further event comes: from now on each Read goes on until poll has nothing
	}
	if ev&(eventloop.In|eventloop.Hup) != 0 {
		t.unheard = false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.input {
		t.input = false
		ev |= eventloop.In
	}
	return ev
}

// CloseWrite implements eventloop.Transport: it sends a close_notify, then a FIN. After an error
// of the protocol crypto/tls has sent an alert, behind which nothing may come.
func (t *TLS) CloseWrite() error {
	t.closeNotify()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.queued() == 0 || t.writeErr != nil {
		return t.poll.CloseWrite()
	}
	t.finDue = true
	return t.poll.WatchOut(false)
}

// SkipCloseNotify has CloseWrite and Close send no close_notify, for a stream that may have been
// cut off: it must not look complete.
func (t *TLS) SkipCloseNotify() { t.bare = true }

// CloseNow closes a connection that is on no poller. Close of Conn may wait for five seconds until
// the connection accepts the close_notify; CloseNow waits for a millisecond.
func (t *TLS) CloseNow() {
	t.hasty = true
	t.conn.Close()
}

func (t *TLS) closeNotify() {
	if t.bare {
		return
	}
	if err := t.readErr(); err == nil || err == io.EOF || err == ErrTruncated {
		t.conn.CloseWrite() // its error is the connection's, and known
	}
}

// Finish prepares for Close: it sends a close_notify behind what is queued, and reports whether
// the connection has accepted everything, or is broken. If not, Writable will be called. What Close
// finds in the queue is lost. For the serving goroutine; nothing may be written after it.
func (t *TLS) Finish() (done bool) {
	t.closeNotify()
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.Writable()
	return !t.Queued()
}

// Queued reports whether ciphertext waits for the connection to accept it.
func (t *TLS) Queued() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queued() > 0 && t.writeErr == nil
}

// QueueCap returns how many bytes of memory the ciphertext has that waits for the connection. If that
// is much more than it needs, it gets less first. It is asked after each event, so it takes no
// lock as a rule.
func (t *TLS) QueueCap() int {
	if !t.holds.Load() {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue == nil {
		return 0
	}
	t.queue.Fit()
	return t.queue.Cap()
}

// Unsent implements eventloop.Transport.
func (t *TLS) Unsent() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queued() + t.poll.Unsent()
}

// Acknowledged implements eventloop.Transport.
func (t *TLS) Acknowledged() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return (t.queued() == 0 || t.writeErr != nil) && t.poll.Acknowledged()
}

// SetLinger implements eventloop.Transport.
func (t *TLS) SetLinger(seconds int) {
	t.reset = seconds == 0
	t.poll.SetLinger(seconds)
}

// Close implements eventloop.Transport. It sends a close_notify, as far as that is possible
// without waiting, unless the connection is reset. See Finish.
func (t *TLS) Close() {
	if !t.reset {
		t.closeNotify()
	}
	t.poll.Close()
}
