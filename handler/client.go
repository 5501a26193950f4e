package handler

import (
	"errors"
	"net"
	stdatomic "sync/atomic"

	"wireline/internal/closing"
	"wireline/internal/eventloop"
	"wireline/lib/frame"
)

// ErrQuit, returned by a frame function, closes the client in good order: what was
// written is sent, then a FIN. It is no error in the record.
var ErrQuit = errors.New("handler: close this client")

// ErrClosed is what a Client's methods return once it has ended, joined with what ended it
// if that was an error. net.ErrClosed matches it (errors.Is).
var ErrClosed error = closedError{}

type closedError struct{}

func (closedError) Error() string        { return "handler: client closed" }
func (closedError) Is(target error) bool { return target == net.ErrClosed }

// Client is one connection as a frame handler sees it. It hides how the connection is
// held and read. All methods are safe for concurrent use, but for Hijack and SetCodec.
type Client struct {
	// Value is the user's own, for what belongs to this client. Set it in OnOpen;
	// after that it may be read from anywhere, and a change needs a lock of the
	// user's.
	Value any

	life
	frames *Frames
	conn   eventloop.Conn   // &socket, or a portable one
	socket eventloop.Socket // where an event loop serves the connection

	// Owned by the serving goroutine.
	phase             phase
	input             input
	in                *frame.Buffer // what was read and not served; nil while that is nothing
	bytesIn, framesIn int64         // what the counters do not have yet
	frameBegan        int64         // when the frame that is not whole began; zero if there is none

	lastActivity stdatomic.Int64 // the last byte either way
	timer        stdatomic.Int64 // when Expired is called, zero for never; written under mu
	rest         *ended          // what a client needs near its end only; made under mu

	// Under mu.
	sending  sending
	override *clientCodec // the codec, if it is not the handler's
	out      *output      // nil while nothing is to be sent
}

// phase is how far a client has come. The serving goroutine moves it.
//
//	opening --> serving --> closing --> closed
//
// Package closing has the steps of closing.
type phase uint8

const (
	opening      phase = iota // OnOpen is still to be called
	serving                   // frames are served
	closingPhase              // the client has ended; what was written is sent
	closed                    // the connection is closed, or has a new owner
)

// input is what the serving goroutine knows of the input.
type input uint8

const (
	unread   input = 1 << iota // there may be something to read
	hangup                     // the end of the stream, or an error, is there to be read
	eof                        // it was read
	buffered                   // there may be whole frames in the buffer
	unsent                     // replies of the last batch may wait to be sent: nothing is read until then
	idled                      // the client was paused
)

func (i input) has(bit input) bool { return i&bit != 0 }
func (i *input) set(bit input)     { *i |= bit }
func (i *input) clear(bit input)   { *i &^= bit }

// ended is what a client has near its end only.
type ended struct {
	closing  closing.Closing
	lookEnds int64    // end of the last look of a drain
	local    net.Addr // under mu
	fail     error    // why nothing can be written any more; under mu
}

// tail returns what c has near its end. The caller has mu, or is the serving goroutine
// and knows that it was made.
func (c *Client) tailLocked() *ended {
	if c.rest == nil {
		c.rest = new(ended)
	}
	return c.rest
}

func (c *Client) tail() *ended {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tailLocked()
}

// LocalAddr returns the server's end of the connection. Once the connection is closed, and
// OnClose is not set, that is the listener's address.
func (c *Client) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.localAddrLocked()
}

// localAddrLocked asks the system while it can, since the listener's address may be that
// of any host.
func (c *Client) localAddrLocked() net.Addr {
	if c.rest != nil && c.rest.local != nil {
		return c.rest.local
	}
	known := c.accepted.LocalAddr()
	if c.sending.has(gone) {
		return known
	}
	return c.conn.LocalAddr(known)
}

// Busy reports whether a frame of the client is being served, or a reply or
// another message to it is not yet written. Half a frame that has come does not
// make it busy.
func (c *Client) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending.has(busy) || c.out != nil && c.out.Size() > 0
}

// Close asks for the client's end in good order and returns at once: no
// further frame is begun, what is written is sent, then comes a FIN; CloseWith has
// other ways. It returns nil.
func (c *Client) Close() error {
	c.end(ByServer, ReasonClosed, nil)
	c.wake()
	return nil
}

// CloseWith is Close with a mode of its own for this client, in the place of the
// server's. CloseReset does not wait for what was written, and also ends a client that
// is about to be closed in another way. The others change nothing if the client has its
// end already. It returns nil, at once.
func (c *Client) CloseWith(mode CloseMode) error {
	end := &ending{by: ByServer, reason: ReasonClosed, mode: mode, asked: true}
	c.ending.CompareAndSwap(nil, end)
	if mode == CloseReset {
		c.abort(ByServer, ReasonClosed, nil)
	} else {
		c.wake()
	}
	return nil
}

// wake has the serving goroutine look at the client's state. It also looks after a
// function that waits in a Write to a client which has ended, and so has a timeout in any
// case.
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

// abortLocked has writes fail, then sends the RST: the serving goroutine would wait for
// what is unsent.
func (c *Client) abortLocked() {
	c.failLocked(ErrClosed)
	if !c.sending.has(gone) {
		c.conn.Reset()
		c.conn.Wake()
	}
}

// clientMember is a Client in its set.
type clientMember Client

func (m *clientMember) shared() *life { return &m.life }

// Drain implements drain.Member: an idle client gets its FIN when it is woken.
func (m *clientMember) Drain() (busy bool) {
	m.flags.set(draining)
	return (*Client)(m).Busy()
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
