package handler

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"net"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"wireline/internal/timestamp"
	"wireline/internal/transport"
	"wireline/lib/field"
	"wireline/lib/frame"
)

// stopGrace is how long stop waits for the goroutines of portable pollers, handshakes and
// Client.Go after the last client has gone.
const stopGrace = 50 * time.Millisecond

// Frames is a Handler that reads frames and calls a function for each. It takes care of
// reading, timeouts, batching of replies, memory limits and draining. The application
// sets OnFrame, and Codec unless frames are lines.
//
// The zero value discards lines. Set the fields before the first connection, and do not
// change them afterwards; Reconfigure replaces them for the clients that come later. A Frames
// must not be copied.
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
	// starts with the first byte of the frame; further bytes do not extend it. It stands still
	// while the client is not read from, because of its Limit or because its replies wait to be
	// sent; after a pause it begins again. Zero means no timeout.
	FrameTimeout time.Duration

	// FirstFrameTimeout ends a client that has not completed its first frame this time after it
	// was accepted, and its TLS handshake was made, or after OnOpen has returned. Bytes do not
	// extend it, nor does a frame that TooLong discards. So it is the time for a login. Zero means
	// no timeout. It does not run while the client is held or paused, and begins again after
	// that.
	FirstFrameTimeout time.Duration

	// MaxLifetime ends a client this time after it was accepted, plus or minus the jitter: so the
	// clients of a server spread over others again. The reply to the frame that is being served,
	// and those of Hold and Go, are delivered, then the connection is closed as after ErrQuit. A
	// frame that has begun to arrive may be completed within a second. If WriteTimeout is not
	// positive, a client that accepts no output for ten seconds is reset then. Zero means no
	// limit.
	MaxLifetime time.Duration

	// MaxLifetimeJitter is how much shorter or longer than MaxLifetime the lifetime of a client
	// may be, at random, so that clients that came together do not all come back together. Zero
	// means a tenth of MaxLifetime. Negative means no jitter.
	MaxLifetimeJitter time.Duration

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
	// passed to Serve, progress is only seen in steps of 64 KiB. Zero means 30 seconds, negative no
	// timeout; in both cases it is 10 seconds for a client that has ended.
	WriteTimeout time.Duration

	// MaxPending limits the output pending for one client, in bytes. When that much is
	// pending, WhenSlow decides what a further Write does. The last message may exceed
	// the limit, so that a message of any size can be sent. Zero means 1 MiB.
	MaxPending int

	// WhenSlow decides what a Write does when MaxPending is reached. Zero means
	// SlowBlock.
	WhenSlow WhenSlow

	// FullDuplex goes on reading, and serving frames, while replies are pending. Without it, a client
	// that sends and does not read is not read from either. But two sides that both do so would wait for
	// each other: one of them must go on reading, and a program that is a client itself sets this.
	// MaxPending and WhenSlow bound what is pending.
	FullDuplex bool

	// WholeFrames ends a client with io.ErrUnexpectedEOF if its stream ends within a frame, also where
	// the codec would take the rest for a frame, as frame.Line takes a last line without an end:
	// the connection may have been cut there. The reason is ReasonFrameError, and OnError is called.
	WholeFrames bool

	// Limit bounds how many frames and bytes a second are taken from one client. The zero value
	// sets no limit. While a client waits, the read timeouts do not run, but for
	// FirstFrameTimeout. After that FrameTimeout goes on where it was, and the others begin again.
	// Frames that TooLong discards count too. A client that is to end in a drain or because
	// of MaxLifetime does not wait: at most one frame of it is served then, as without Limit. A RST
	// that comes meanwhile ends the client at once where the poller tells of it, a FIN after the
	// frames before it.
	Limit Limit

	// MaxInFlight limits how many calls of Hold and Go may be under way for one client. While
	// there are that many, the client is not read from, and no further frame of it is served.
	// Zero means 100. Negative means no limit.
	MaxInFlight int

	// Set by the first use, and not changed afterwards.
	once     sync.Once
	ownCodec *clientCodec   // Codec, for clients without SetCodec
	timeouts clientTimeouts // the fields above, for clients without SetTimeouts
	limits   *limits        // Limit; nil without
	seed     uint64         // of the jitter
	*common                 // &own, or that of the Frames whose Reconfigure has got this one

	shared stdatomic.Pointer[common] // common, for those who do not know whether there was a first use
	own    common
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

// Clients returns the set of the current clients. Use it to range over them. For a Frames that was
// passed to Reconfigure of another one, they are those of that one; it is the same for Totals, Live,
// Last and Drained.
func (h *Frames) Clients() *Clients { return &h.all().clients }

// all returns what h shares with its other generations.
func (h *Frames) all() *common {
	if c := h.shared.Load(); c != nil {
		return c
	}
	return &h.own
}

// Handle implements Handler. It serves conn without a server, and returns when the
// connection is closed or hijacked.
func (h *Frames) Handle(ctx context.Context, conn net.Conn) { ServeConn(ctx, conn, h) }

// Accept implements Acceptor.
func (h *Frames) Accept(a Accepted) {
	h.once.Do(h.init)
	h.current.Load().accept(a)
}

// accept is Accept for a client of this generation.
func (h *Frames) accept(a Accepted) {
	c := &Client{frames: h}
	c.accepted, c.begin = a, timestamp.Now()
	if err := c.attach(); err != nil {
		a.Done()
		return
	}
	c.startTimeouts()
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
	c.checkLifetime()
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
	if h.limits != nil {
		c.setSpecial(func(s *special) { s.pace = new(pace) })
	}
	return nil
}

// Validate reports every setting that is out of range or makes no sense, each as a *field.Error,
// and an error in the settings of the codec; see frame.Validator. tcp.ListenAndServe calls it before
// it listens. Without Validate, a negative timeout is none, and the first use of a wrong codec is
// a frame error.
func (h *Frames) Validate() error {
	var e field.Errors
	for _, timeout := range []struct {
		name string
		d    time.Duration
	}{
		{"IdleTimeout", h.IdleTimeout},
		{"ReadTimeout", h.ReadTimeout},
		{"FrameTimeout", h.FrameTimeout},
		{"FirstFrameTimeout", h.FirstFrameTimeout},
		{"MaxLifetime", h.MaxLifetime},
		{"HandshakeTimeout", h.HandshakeTimeout},
	} {
		e.Check(timeout.d >= 0, timeout.name, timeout.d, "must not be negative")
	}
	e.Check(h.MaxLifetimeJitter <= h.MaxLifetime, "MaxLifetimeJitter", h.MaxLifetimeJitter, "must not be longer than MaxLifetime")
	e.Add(h.Limit.validate())
	if v, ok := h.codec().(frame.Validator); ok {
		e.Add(v.Validate())
	}
	return e.Err()
}

// init prepares a Frames that has clients of its own.
func (h *Frames) init() {
	h.prepare(&h.own)
	h.handshakes.Limit = h.MaxHandshakes
	if h.OnRecord != nil {
		h.clients.OnRecord = h.OnRecord
	}
	h.current.Store(h)
}

// prepare makes h ready to serve clients that belong to c.
func (h *Frames) prepare(c *common) {
	h.common = c
	h.shared.Store(c)
	h.ownCodec = newClientCodec(h.codec())
	h.timeouts = h.ownTimeouts().over(&defaultTimeouts)
	h.seed = rand.Uint64()
	h.limits = newLimits(h.Limit)
}

// ownTimeouts returns the timeouts as they are set.
func (h *Frames) ownTimeouts() Timeouts {
	return Timeouts{
		Idle:       h.IdleTimeout,
		Read:       h.ReadTimeout,
		Frame:      h.FrameTimeout,
		FirstFrame: h.FirstFrameTimeout,
		Write:      h.WriteTimeout,
	}
}

// Shutdown implements Shutdowner. See Clients.Shutdown.
func (h *Frames) Shutdown(ctx context.Context) error {
	err := h.own.clients.Shutdown(ctx)
	h.stop()
	return err
}

// Close implements Handler. See Clients.Close.
func (h *Frames) Close() error {
	err := h.own.clients.Close()
	h.stop()
	return err
}

// stop ends the goroutines of the pollers. It does not wait for a frame function that
// does not return.
func (h *Frames) stop() {
	h.own.loops.Stop()
	h.own.background.WaitWithTimeout(stopGrace)
}

// Totals implements Observed.
func (h *Frames) Totals() Totals { return h.all().clients.Totals() }

// Live implements Observed.
func (h *Frames) Live() iter.Seq[Live] { return h.all().clients.Live() }

// Last implements Observed.
func (h *Frames) Last() []Record { return h.all().clients.Last() }

// Drained returns what Shutdown has done with the clients so far.
func (h *Frames) Drained() DrainStats { return h.all().clients.Drained() }

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
