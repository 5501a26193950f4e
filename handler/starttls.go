package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/handshakes"
	"wireline/internal/transport"
)

var (
	// ErrTLSActive is returned by StartTLS if the client speaks TLS already.
	ErrTLSActive = errors.New("handler: TLS is active")

	// ErrPlaintext is passed to OnError, with how much it was, when StartTLS discards input
	// that had arrived before the handshake.
	ErrPlaintext = errors.New("handler: plain text before the TLS handshake")
)

// defaultHandshakeTimeout is used when Frames.HandshakeTimeout is zero.
const defaultHandshakeTimeout = 10 * time.Second

// maxHandshakeInput is how much is read ahead of a handshake.
const maxHandshakeInput = 64 << 10

// StartTLS begins TLS in the middle of a protocol, as STARTTLS of SMTP does. It takes effect when
// OnFrame has returned and everything that was written until then is sent: then the server's end of
// the handshake runs, and the same client goes on. What other goroutines write meanwhile is sent
// after the handshake, encrypted.
//
// Input that has arrived behind the frame is discarded. Otherwise anybody on the way could put
// commands in front of the client's own (CVE-2011-0411). OnError is told of it, with an error
// that matches ErrPlaintext; the client goes on unless OnError ends it.
//
// The handshake has Frames.HandshakeTimeout, and no other timeout runs meanwhile. If it fails, the
// client ends with ReasonTLS. During the handshake, c.TLS returns nil. A drain ends the client.
//
// StartTLS may be called only in OnFrame and OnOpen. The error is ErrTLSActive, ErrClosed, or says
// that config is nil. config is not changed, and may be used for many clients.
func (c *Client) StartTLS(config *tls.Config) error {
	switch {
	case config == nil:
		return errors.New("handler: StartTLS needs a tls.Config")
	case c.tls() != nil, c.upgrade() != nil, c.accepted.TLS() != nil:
		return ErrTLSActive
	case c.ended():
		return ErrClosed
	}
	u := &upgrade{client: c, config: config}
	u.writable.L = &c.mu
	u.readable.L = &u.mu
	c.setSpecial(func(s *special) { s.upgrade = u })
	c.flags.set(upgrading)
	return nil
}

// TLS returns the state of the TLS connection; nil without TLS, or before the end of the
// handshake. It does not wait. The caller owns the result, but must not change the certificates.
func (c *Client) TLS() *tls.ConnectionState {
	c.mu.Lock()
	t := c.tls()
	c.mu.Unlock()
	if t == nil {
		return c.life.TLS()
	}
	state := t.Conn().ConnectionState()
	return &state
}

// upgrade is a change to TLS that is under way. Its handshake runs in a goroutine, as crypto/tls
// waits in it. It is the net.Conn beneath: the client's serving goroutine reads for it.
type upgrade struct {
	client   *Client
	config   *tls.Config
	tls      *transport.TLS   // nil before the handshake begins
	bounded  *handshakes.Conn // between tls and the upgrade
	ctx      context.Context  // of the handshake; stop ends it
	end      context.CancelFunc
	due      int64     // when the handshake must be over
	extended bool      // due is not the first one
	writable sync.Cond // on the client's mu

	mu       sync.Mutex
	readable sync.Cond // on mu
	input    []byte    // read from the connection, and not by the handshake yet
	inputErr error     // io.EOF, or what has broken the connection, behind input
	over     bool      // the handshake is over
	err      error     // of the handshake; read after over
}

// dropPlaintext discards what has arrived behind the frame whose function has called StartTLS.
func (c *Client) dropPlaintext() {
	n := c.in.Len()
	c.in.Reset()
	if n > 0 && c.frames.OnError != nil {
		c.frames.OnError(c, fmt.Errorf("%w: %d bytes", ErrPlaintext, n))
	}
}

// beginHandshake starts the handshake.
func (c *Client) beginHandshake(w *eventloop.Worker) {
	u := c.upgrade()
	c.dropBuffer(w)
	c.input.clear(buffered)
	c.frameBegan = 0
	c.phase = phaseHandshaking
	u.ctx, u.end = context.WithCancel(c.accepted.Context())
	u.bounded = c.frames.handshakes.Conn(u.ctx, u)
	u.tls = transport.Server(u.bounded, u.config)
	u.due = eventloop.After(c.conn.Now(), c.frames.handshakeTimeout())
	c.frames.background.Add(1)
	go u.run()
}

// run makes the handshake. If it was stopped, the client does not wait for its end: a function of
// the user's in config may block it.
func (u *upgrade) run() {
	defer u.end()
	defer u.bounded.Done()
	err, mine := u.client.frames.handshakes.Make(u.ctx, handshakes.Handshake{
		Conn:      u.tls.Conn(),
		Abandoned: func() { u.finish(net.ErrClosed) },
		Panicked: func(v any, abandoned bool) {
			u.client.accepted.Panicked(v)
			if !abandoned {
				u.client.end(ByServer, ReasonPanic, nil)
				u.bounded.Done()
				u.finish(net.ErrClosed)
			}
		},
	})
	if !mine {
		return
	}
	u.bounded.Done()
	if err == nil {
		u.tls.SetBase(nil) // the upgrade is not needed any more
	}
	u.finish(err)
}

// finish tells the serving goroutine that the handshake is over, with err.
func (u *upgrade) finish(err error) {
	defer u.client.frames.background.Done()
	u.mu.Lock()
	u.over, u.err = true, err
	u.mu.Unlock()
	u.client.conn.Wake()
}

// continueHandshake does for a handshake what the serving goroutine has to do. It reports whether
// the handshake is over, and phase the one after it.
func (c *Client) continueHandshake(w *eventloop.Worker) (over bool) {
	u := c.upgrade()
	u.mu.Lock()
	over = u.over
	u.mu.Unlock()
	if over {
		c.endHandshake(u, u.err)
		return true
	}
	switch {
	case c.flags.has(draining):
		c.end(ByServer, ReasonDrain, nil)
	case c.conn.Now() >= u.due && !c.extendHandshake(w, u):
		c.end(ByClient, ReasonTLS, fmt.Errorf("handshake: %w", os.ErrDeadlineExceeded))
	}
	if c.ended() {
		u.stop()
		return false
	}
	c.readAhead(w, u)
	c.countInput()
	c.arm(u.due)
	return false
}

// extendHandshake is called when the timeout has expired. If the process was stopped (SIGSTOP) for
// a while, the client's part may have arrived in time. Then the handshake goes on, and its timeout
// starts again, once.
func (c *Client) extendHandshake(w *eventloop.Worker, u *upgrade) bool {
	if u.extended || c.conn.Now()-u.due <= int64(eventloop.LateTimer) {
		return false
	}
	found := u.hasInput()
	if u.takes() {
		found = c.readOnceAhead(w, u, c.conn.Look) || found
		c.dropBuffer(w)
	}
	if !found {
		return false
	}
	u.extended = true
	u.due = c.conn.Now() + int64(c.frames.handshakeTimeout())
	return true
}

// readAhead reads for the handshake.
func (c *Client) readAhead(w *eventloop.Worker, u *upgrade) {
	defer c.dropBuffer(w)
	for c.input.has(unread) && u.takes() {
		c.readOnceAhead(w, u, c.conn.Read)
	}
}

// readOnceAhead calls read once, for the handshake. It reports whether there was something.
func (c *Client) readOnceAhead(w *eventloop.Worker, u *upgrade, read reader) (found bool) {
	c.takeBuffer(w)
	c.in.Reset()
	n, drained, err := read(c.in.Space())
	switch {
	case err != nil, drained && (n == 0 || !c.input.has(hangup)):
		c.input.clear(unread)
	case !drained: // also after a Look that no event has preceded
		c.input.set(unread)
	}
	c.bytesIn += int64(n)
	u.add(c.in.Space()[:n], err)
	return n > 0 || err != nil
}

// endHandshake goes on with TLS, or ends the client.
func (c *Client) endHandshake(u *upgrade, err error) {
	c.flags.clear(upgrading)
	if err == nil && c.flags.has(draining) {
		c.end(ByServer, ReasonDrain, nil)
	} else if err != nil && !c.ended() {
		c.endIO(u.explain(err))
	}
	c.setSpecial(func(s *special) {
		s.upgrade = nil
		if err == nil {
			s.tls = u.tls
		}
	})
	c.phase = phaseServing
	if err == nil {
		u.tls.Use(c.conn, u.input)
		if c.input.has(hangup) { // which u.tls has not been told of
			u.tls.Ready(eventloop.Hup)
		}
		c.input.set(unread)
	}
	c.startTimeouts()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countInLocked()
	if err != nil {
		c.shutLocked() // what waits was to be encrypted
	}
	c.sending.clear(held)
	if c.out != nil {
		c.out.changed.Broadcast() // admitLocked waits for the end of the handshake
	}
	c.flushLocked(false)
}

// explain returns the error of a handshake that has failed with err.
func (u *upgrade) explain(err error) error {
	if u.inputErr != nil && u.inputErr != io.EOF {
		return u.inputErr
	}
	return fmt.Errorf("%w: handshake: %w", transport.ErrProtocol, err)
}

// takes reports whether input may be added.
func (u *upgrade) takes() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.inputErr == nil && len(u.input) < maxHandshakeInput
}

// hasInput reports whether there is input that the handshake has not taken.
func (u *upgrade) hasInput() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.inputErr != nil || len(u.input) > 0
}

// buffered returns how many bytes the input takes.
func (u *upgrade) buffered() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return cap(u.input)
}

// add hands over what was read.
func (u *upgrade) add(p []byte, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.input, u.inputErr = append(u.input, p...), err
	u.readable.Signal()
}

// stop has the handshake end.
func (u *upgrade) stop() {
	u.end()
	u.mu.Lock()
	u.readable.Signal()
	u.mu.Unlock()
	u.client.mu.Lock()
	u.writable.Signal()
	u.client.mu.Unlock()
}

// stopped reports whether the handshake is to end.
func (u *upgrade) stopped() bool { return u.ctx.Err() != nil }

// Read implements net.Conn.
func (u *upgrade) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.input) == 0 && u.inputErr == nil && !u.stopped() {
		u.readable.Wait()
	}
	switch {
	case u.stopped():
		return 0, net.ErrClosed
	case len(u.input) == 0:
		return 0, u.inputErr
	}
	full := len(u.input) >= maxHandshakeInput
	n := copy(p, u.input)
	u.input = u.input[n:]
	if full {
		u.client.conn.Wake() // it had stopped reading
	}
	return n, nil
}

// Write implements net.Conn.
func (u *upgrade) Write(p []byte) (n int, err error) {
	c := u.client
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) {
		if u.stopped() || c.sending.has(gone|failed) {
			return n, net.ErrClosed
		}
		m, err := c.conn.Write([3][]byte{p[n:]})
		n += m
		c.count.BytesOut += int64(m)
		if err == nil && n < len(p) {
			err = c.conn.WatchOut(false)
		}
		if err != nil {
			return n, err
		}
		if n < len(p) {
			u.writable.Wait()
		}
	}
	return n, nil
}

// Close implements net.Conn. The client closes the connection.
func (u *upgrade) Close() error { return nil }

// LocalAddr implements net.Conn.
func (u *upgrade) LocalAddr() net.Addr { return u.client.LocalAddr() }

// RemoteAddr implements net.Conn.
func (u *upgrade) RemoteAddr() net.Addr { return u.client.RemoteAddr() }

// SetDeadline implements net.Conn. The client's timeout is the only one.
func (u *upgrade) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (u *upgrade) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (u *upgrade) SetWriteDeadline(time.Time) error { return nil }
