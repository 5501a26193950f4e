package handler

import (
	"cmp"
	"context"
	"net"
	"sync"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/handshakes"
	"wireline/internal/transport"
	"wireline/lib/frame"
	"wireline/lib/sync/wait"
)

// stopGrace is how long stop waits for the goroutines of portable pollers, handshakes and
// Client.Go after the last client has gone.
const stopGrace = 50 * time.Millisecond

// Frames is a Handler that reads frames and calls a function for each. It takes care of
// reading, timeouts, batching of replies, memory limits and draining. The application
// sets OnFrame, and Codec unless frames are lines.
//
// The zero value discards lines. Set the fields before the first connection, and do not
// change them afterwards. A Frames must not be copied.
type Frames struct {
	// OnFrame is called for each frame. Calls for one client do not overlap. It may
	// block; other clients are served meanwhile. frame is valid until OnFrame returns,
	// and OnFrame may modify it. To reply, call c.WriteFrame or c.Write.
	//
	// If OnFrame returns an error, pending output is sent, then a FIN. ErrQuit does the
	// same, but is not reported as an error in the record. If OnFrame is nil, frames
	// are discarded.
	OnFrame func(c *Client, frame []byte) error

	// Codec finds the end of each frame. Nil means frame.Line{}.
	Codec frame.Codec

	// TooLong decides about a client that sends a frame longer than the maximum of the
	// codec. Zero means TooLongEnd.
	TooLong TooLong

	// OnOpen, if not nil, is called before the first frame. It may set c.Value and
	// write a greeting. Its errors are treated as those of OnFrame.
	OnOpen func(c *Client) error

	// OnEnd, if not nil, is called once for each client, when its end begins: the place to
	// give its name to others, although the close may still take two seconds because the
	// client keeps its side open. c.Record says why the client ends. OnEnd may write a last
	// message, which is sent if the connection still can send.
	//
	// Like OnFrame, OnEnd is called by the goroutine that serves the client, with no lock
	// held, so it may lock what OnFrame locks, and call any method of any client. It does not overlap
	// with OnFrame: if that runs when the client ends, OnEnd is called after it has returned;
	// c.Context ends at once. It delays the end of its own client only. It is not
	// called if OnOpen has failed.
	OnEnd func(c *Client)

	// OnClose, if not nil, is called once for each client, after OnEnd, when its
	// connection is closed. It is called in the same way, and is not called if OnOpen has failed.
	// Functions of Go may still run if they do not return when their context ends.
	OnClose func(c *Client)

	// OnError, if not nil, is called before a client is ended because of err: a frame
	// error (frame.ErrTooLong, io.ErrUnexpectedEOF or an error of the codec) or a read
	// timeout (os.ErrDeadlineExceeded). It may write a last message, which arrives
	// completely even if the client is still sending. If TooLong is TooLongDiscard,
	// OnError is also called for each discarded frame, and may write the reply to that
	// frame. StartTLS calls it with ErrPlaintext. In these two cases the client goes on.
	OnError func(c *Client, err error)

	// OnRecord is called once for each connection, after it has ended. See
	// Clients.OnRecord.
	OnRecord func(Record)

	// IdleTimeout ends a client after this time without a byte in either direction,
	// even if output to it is pending. Zero means no timeout.
	IdleTimeout time.Duration

	// ReadTimeout ends a client that sends nothing for this time, also if output to it is sent
	// meanwhile. Zero means no timeout. It does not run while OnFrame runs, while the client is
	// held or paused, or while its replies wait to be sent, and begins again after that.
	ReadTimeout time.Duration

	// OnIdle, if not nil, is called when the client has sent nothing for half of ReadTimeout: it
	// may send a ping. The client has the other half to answer, from the return of OnIdle.
	// It is called once for each silence, as OnFrame is, and its result is treated alike.
	OnIdle func(c *Client) error

	// FrameTimeout ends a client that does not complete a frame within this time. It
	// starts with the first byte of the frame; further bytes do not extend it. Zero
	// means no timeout.
	FrameTimeout time.Duration

	// HandshakeTimeout bounds the handshake of StartTLS. Zero means 10 seconds.
	HandshakeTimeout time.Duration

	// MaxHandshakes limits how many handshakes of StartTLS are computed at the same time;
	// further ones queue, within their timeout. One that waits for its client does not count.
	// Zero means half of the processors, and at least one.
	MaxHandshakes int

	// WriteTimeout resets a client that accepts no byte of the pending output for this
	// time. A slow client that accepts some bytes stays. The timeout is accurate to a
	// sixteenth of it, between 10 milliseconds and a second. Answers of TLS itself, to
	// KeyUpdates, count as output. For a TLS listener
	// passed to Serve, progress is only seen in steps of 64 KiB. Zero means no timeout, but 10
	// seconds for a client that has ended.
	WriteTimeout time.Duration

	// MaxPending limits the output pending for one client, in bytes. When that much is
	// pending, WhenSlow decides what a further Write does. The last message may exceed
	// the limit, so that a message of any size can be sent. Zero means 1 MiB.
	MaxPending int

	// WhenSlow decides what a Write does when MaxPending is reached. Zero means
	// SlowBlock.
	WhenSlow WhenSlow

	// MaxInFlight limits how many calls of Hold and Go may be under way for one client. While
	// there are that many, the client is not read from, and no further frame of it is served.
	// Zero means 100. Negative means no limit.
	MaxInFlight int

	once       sync.Once
	ownCodec   *clientCodec // Codec, for clients without SetCodec
	clients    Clients
	delayed    delayedFlush
	loops      eventloop.Lazy
	handshakes handshakes.Limiter
	background wait.Wait // counts portable pollers, handshakes and functions of Go
}

// TooLong says what happens to a client that sends a frame longer than the maximum of
// the codec.
type TooLong int

const (
	// TooLongEnd calls OnError and ends the client. It is the default.
	TooLongEnd TooLong = iota
	// TooLongDiscard discards the frame, however long it is, calls OnError once, and
	// continues with the next frame. A client whose codec cannot find the next frame is
	// ended; see frame.Discarder.
	TooLongDiscard
)

// Clients returns the set of the current clients. Use it to range over them.
func (h *Frames) Clients() *Clients { return &h.clients }

// Handle implements Handler. It serves conn without a server, and returns when the
// connection is closed or hijacked.
func (h *Frames) Handle(ctx context.Context, conn net.Conn) { ServeConn(ctx, conn, h) }

// Accept implements Acceptor.
func (h *Frames) Accept(a Accepted) {
	h.once.Do(h.init)
	c := &Client{frames: h}
	c.accepted, c.begin = a, now()
	if err := c.attach(); err != nil {
		a.Done()
		return
	}
	c.touch()
	c.noteRead()
	if h.OnOpen == nil {
		c.flags.set(visible)
	}
	if !h.clients.add((*clientMember)(c)) {
		c.sending.set(gone)
		c.transport().Close()
		a.Done()
		return
	}
	if h.OnOpen != nil {
		c.conn.Wake() // so that OnOpen is called before any input arrives
	}
	c.arm(c.nextDue())
	c.conn.Start()
}

// attach puts the connection on a poller.
func (c *Client) attach() error {
	h := c.frames
	conn, t, err := transport.Attach(c.accepted, &h.loops, &c.socket, (*pollerHandler)(c), &h.background)
	if err != nil {
		return err
	}
	c.conn = conn
	if t != nil {
		c.special = &special{tls: t}
	}
	return nil
}

// Validate reports an error in the settings of the codec; see frame.Validator.
// tcp.ListenAndServe calls it before it listens. Without Validate, the first use of a
// wrong codec is a frame error.
func (h *Frames) Validate() error {
	if v, ok := h.codec().(frame.Validator); ok {
		return v.Validate()
	}
	return nil
}

func (h *Frames) init() {
	h.ownCodec = newClientCodec(h.codec())
	h.handshakes.Limit = h.MaxHandshakes
	if h.OnRecord != nil {
		h.clients.OnRecord = h.OnRecord
	}
}

// Shutdown implements Shutdowner. See Clients.Shutdown.
func (h *Frames) Shutdown(ctx context.Context) error {
	err := h.clients.Shutdown(ctx)
	h.stop()
	return err
}

// Close implements Handler. See Clients.Close.
func (h *Frames) Close() error {
	err := h.clients.Close()
	h.stop()
	return err
}

// stop ends the goroutines of the pollers. It does not wait for a frame function that
// does not return.
func (h *Frames) stop() {
	h.loops.Stop()
	h.background.WaitWithTimeout(stopGrace)
}

// Drained returns what Shutdown has done with the clients so far.
func (h *Frames) Drained() DrainStats { return h.clients.Drained() }

func (h *Frames) codec() frame.Codec {
	if h.Codec == nil {
		return frame.Line{}
	}
	return h.Codec
}

func (h *Frames) handshakeTimeout() time.Duration {
	return cmp.Or(h.HandshakeTimeout, defaultHandshakeTimeout)
}

func (h *Frames) maxPending() int {
	if h.MaxPending <= 0 {
		return defaultMaxPending
	}
	return h.MaxPending
}
