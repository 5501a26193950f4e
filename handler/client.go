package handler

import (
	"errors"
	"log/slog"
	"net"
	stdatomic "sync/atomic"

	"wireline/internal/closing"
	"wireline/internal/eventloop"
	"wireline/internal/transport"
	"wireline/lib/frame"
)

// ErrQuit is returned by a frame function or OnOpen to close the client: pending output
// is sent, then a FIN. The record does not report it as an error.
var ErrQuit = errors.New("handler: close this client")

// ErrClosed is returned by the methods of a Client that has ended. If an error ended
// the client, the two are joined. errors.Is(ErrClosed, net.ErrClosed) is true.
var ErrClosed error = closedError{}

type closedError struct{}

func (closedError) Error() string        { return "handler: client closed" }
func (closedError) Is(target error) bool { return target == net.ErrClosed }

// Client is one connection of a Frames handler. Frames creates it, and passes it to its
// functions; a Client may be kept and used after they return, until the connection is
// closed.
//
// All methods are safe for concurrent use, except Hijack and SetCodec.
type Client struct {
	// Value is for the application's own data about this client. Set it in OnOpen.
	// After that any goroutine may read it, and changing it needs a lock of the
	// application's own.
	Value any

	life
	frames *Frames
	conn   eventloop.Conn   // &socket, or a portable one
	socket eventloop.Socket // used if an event loop serves the connection

	// Owned by the serving goroutine.
	phase             phase
	input             input
	lastRead          coarse        // when something was last read from the client; see noteRead
	in                *frame.Buffer // input that is not served yet; nil while there is none
	bytesIn, framesIn int64         // not added to life.count yet
	frameBegan        int64         // when the partial frame in the buffer began; zero if there is none; see suspendFrame

	lastActivity stdatomic.Int64             // when the last byte was read or written
	timerDue     stdatomic.Int64             // when Expired will be called; zero for never; written under mu
	endState     stdatomic.Pointer[endState] // nil until it is needed; created under mu

	sending sending // under mu
	opened  coarse  // when FirstFrameTimeout began; the serving goroutine's, here because there is room

	// Under mu.
	special *special // nil for a client that has nothing special
	out     *output  // nil while no output is pending
}

// phase is the stage of a client's life. Only the serving goroutine changes it.
//
//	opening --> serving --> closing --> closed
//	             |   ^         ^
//	             v   |         |
//	          handshaking -----+
//
// Handshaking is only for StartTLS: a server makes its handshake before OnOpen.
// Package closing has the steps of the closing phase.
type phase uint8

const (
	phaseOpening     phase = iota // OnOpen has not been called yet
	phaseServing                  // frames are being served
	phaseHandshaking              // the handshake of StartTLS is under way
	phaseClosing                  // the client has ended; pending output is being sent
	phaseClosed                   // the connection is closed, or has a new owner
)

// input is a set of facts that the serving goroutine knows about the input.
type input uint16

const (
	unread    input = 1 << iota // the connection may have input to read
	hangup                      // the end of the stream, or an error, has arrived and can be read
	eof                         // the end of the stream was read; what is in the buffer is all
	buffered                    // the buffer may hold whole frames
	unsent                      // replies of the last batch may be pending; nothing is read until they are sent
	idled                       // the client was last served while nothing could be read: no read timeout runs
	truncated                   // the end of the stream came without the close_notify of TLS
	finishing                   // the client is held, and leaving: it ends when it is released
	slowed                      // Limit is reached: nothing is read or served until it allows more
	counted                     // the server's Memory counts what is kept of the input
	extended                    // the timeouts of this partial frame have begun again, after the process was stopped
	woken                       // a timeout may have expired, which is to be seen yet
	looked                      // one has expired, and what may have arrived in time is being served
)

func (i input) has(bit input) bool { return i&bit != 0 }
func (i *input) set(bit input)     { *i |= bit }
func (i *input) clear(bit input)   { *i &^= bit }

// special is what few clients have: a codec of their own, TLS, or a Limit. It is replaced under mu, by
// the serving goroutine, which may read it without mu.
type special struct {
	codec   *clientCodec // set by SetCodec; nil for the codec of the handler
	tls     *transport.TLS
	pace    *pace    // the serving goroutine's; nil without Limit
	upgrade *upgrade // to TLS, from StartTLS to the end of the handshake
}

// setSpecial changes what the client has in special. The caller is the serving goroutine.
func (c *Client) setSpecial(change func(*special)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s special
	if c.special != nil {
		s = *c.special
	}
	change(&s)
	c.special = nil
	if s != (special{}) {
		c.special = &s
	}
}

// tls returns the TLS of the client, or nil without. The caller is the serving goroutine, or
// holds mu.
func (c *Client) tls() *transport.TLS {
	if c.special == nil {
		return nil
	}
	return c.special.tls
}

// transport returns what the client reads and writes: the connection, or TLS over it. The caller
// is the serving goroutine, or holds mu.
func (c *Client) transport() eventloop.Transport {
	if t := c.tls(); t != nil {
		return t
	}
	return c.conn
}

// upgrade returns the change to TLS that is under way, or nil. The caller is the serving
// goroutine, or holds mu.
func (c *Client) upgrade() *upgrade {
	if c.special == nil {
		return nil
	}
	return c.special.upgrade
}

// endState is the state that a client needs only when it ends, or if it uses what few
// clients use. It is allocated on demand to keep an idle client small.
type endState struct {
	closing      closing.Closing
	lastReadEnds int64    // when a client that is leaving is not read from any more
	localAddr    net.Addr // saved before the connection is closed; under mu
	writeErr     error    // why output failed; nil for ErrClosed; under mu
	holds        int      // how many calls of Hold are not released yet; under mu

	held  *clientHeld // nil until it holds something; under mu
	attrs []slog.Attr // of SetAttr; replaced, never changed; under mu

	context  stdatomic.Pointer[clientContext]  // nil until Context is called; set under mu
	timeouts stdatomic.Pointer[clientTimeouts] // of SetTimeouts; nil for those of Frames

	// For finishTLS.
	unsent   int   // Conn.Unsent at the last check
	accepted int64 // when it last got smaller; zero before the first check
}

// endStateLocked returns c.endState, and creates it if necessary. The caller holds mu.
func (c *Client) endStateLocked() *endState {
	e := c.endState.Load()
	if e == nil {
		e = new(endState)
		c.endState.Store(e)
	}
	return e
}

// getEndState is endStateLocked for a caller that does not hold mu.
func (c *Client) getEndState() *endState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endStateLocked()
}

// LocalAddr returns the local address of the connection. After the connection is closed
// it is the listener's address, unless OnClose is set.
func (c *Client) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.localAddrLocked()
}

// localAddrLocked asks the system while the connection is open, because the listener's
// address may be unspecified (0.0.0.0).
func (c *Client) localAddrLocked() net.Addr {
	if e := c.endState.Load(); e != nil && e.localAddr != nil {
		return e.localAddr
	}
	known := c.accepted.LocalAddr()
	if c.sending.has(gone) {
		return known
	}
	return c.conn.LocalAddr(known)
}

// Busy reports whether a frame of the client is being served, or output to it is
// pending, or Hold or Go keep it busy. A partial frame does not make a client busy.
func (c *Client) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending.has(busy) || c.flags.has(holding) || c.out != nil && c.out.Size() > 0
}

// Close begins to close the client and returns at once: no further frame is served,
// pending output is sent, then a FIN. See CloseWith for other ways. It always returns
// nil.
func (c *Client) Close() error {
	c.end(ByServer, ReasonClosed, nil)
	c.wake()
	return nil
}

// CloseFor is like Close, and puts err into the record, with ReasonApplication: why the
// application has closed the client. Unlike an error of OnFrame it is not logged as a failure.
// nil is allowed. If the client has ended before, the record stays as it is.
func (c *Client) CloseFor(err error) error {
	c.end(ByServer, ReasonApplication, err)
	c.wake()
	return nil
}

// CloseWith is like Close, but uses mode instead of the server's close mode. CloseReset
// discards pending output, and also takes effect if the client is already closing. The
// other modes have no effect if the client has already ended. It returns at once, and
// always returns nil.
func (c *Client) CloseWith(mode CloseMode) error {
	c.closeAs(ReasonClosed, mode)
	return nil
}

func (c *Client) closeAs(reason Reason, mode CloseMode) {
	end := &ending{by: ByServer, reason: reason, mode: mode, asked: true}
	c.ending.CompareAndSwap(nil, end)
	c.endContext()
	if mode == CloseReset {
		c.abort(ByServer, reason, nil)
	} else {
		c.wake()
	}
}

// wake makes the serving goroutine check the state of the client. For a client that has
// ended it also checks for a stall: a frame function may be waiting in Write, and from
// now on that wait has a timeout.
func (c *Client) wake() {
	if c.ended() {
		c.checkStall()
	}
	c.conn.Wake()
}

// abort ends the client with a RST.
func (c *Client) abort(by Party, reason Reason, err error) {
	c.end(by, reason, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abortLocked()
}

// abortLocked fails the output, then sends the RST. Without the failure the serving
// goroutine would wait for the pending output.
func (c *Client) abortLocked() {
	c.failLocked(ErrClosed)
	if !c.sending.has(gone) {
		c.conn.Reset()
		c.conn.Wake()
	}
}

// Record returns the current record of the client. Until the client has ended, By and Reason
// are empty.
func (c *Client) Record() Record {
	r := c.life.Record()
	c.mu.Lock()
	t := c.tls()
	if e := c.endState.Load(); e != nil {
		r.Attrs = e.attrs
	}
	c.mu.Unlock()
	if t != nil && r.TLS == nil {
		r.TLS = NewTLSInfo(t.Conn()) // of StartTLS
	}
	return r
}

// clientMember is a Client as a member of its set.
type clientMember Client

func (m *clientMember) shared() *life { return &m.life }

func (m *clientMember) Record() Record { return (*Client)(m).Record() }

func (m *clientMember) live() Live { return (*Client)(m).live() }

func (m *clientMember) closeAs(reason Reason, mode CloseMode) { (*Client)(m).closeAs(reason, mode) }

// Drain implements drain.Member. An idle client sends its FIN when it is woken.
func (m *clientMember) Drain() (busy bool) {
	m.flags.set(draining)
	return (*Client)(m).Busy() || (*Client)(m).firstInputLeft() > 0
}

// Wake implements drain.Member.
func (m *clientMember) Wake() { (*Client)(m).wake() }

// Cut implements drain.Member.
func (m *clientMember) Cut() bool {
	if !m.endCut() {
		return false
	}
	(*Client)(m).abort(ByServer, ReasonCut, nil)
	return true
}
