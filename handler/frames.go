package handler

import (
	"context"
	"net"
	"sync"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/lib/frame"
	"wireline/lib/sync/wait"
)

// stopGrace bounds the wait for goroutines whose last client has gone.
const stopGrace = 50 * time.Millisecond

// Frames is a Handler that reads, splits and answers frames: the user gives a
// codec and one function. It owns reading, batching of replies, time-outs,
// limits on memory, and draining. Set its fields before the first connection;
// the zero value of each but Serve is valid. It must not be copied.
type Frames struct {
	// OnFrame is called for each frame, for the frames of one client one after
	// the other. It may block; other clients go on. The frame's bytes are
	// valid, and OnFrame's to change, until it returns. It answers with c.Write
	// or c.WriteFrame.
	//
	// An error ends the client: what was written is sent, then a FIN.
	// ErrClose does so without being an error in the record. Nil OnFrame
	// discards the frames.
	OnFrame func(c *Client, frame []byte) error

	// Codec says where frames end. Nil means frame.Line{}.
	Codec frame.Codec

	// TooLong is what becomes of a client that sends a frame over the codec's
	// maximum. Zero means EndClient.
	TooLong TooLong

	// OnOpen, if set, is called before the first frame; it may set c.Value and
	// write a greeting. An error ends the client as one of Serve does.
	OnOpen func(c *Client) error

	// OnClose, if set, is called once for each client whose OnOpen did not
	// fail, when its connection is closed and Serve has returned. c.Record
	// tells why it ended.
	OnClose func(c *Client)

	// OnError, if set, is called when the client ends because of err, a frame
	// error (errors.Is frame.ErrTooLong, io.ErrUnexpectedEOF, or the codec's
	// own) or a time-out for reading (os.ErrDeadlineExceeded): the place for
	// last words. They arrive in full, also when the client is still sending.
	// Where TooLong is Discard it is called for each frame that is discarded,
	// and what it writes is that frame's reply.
	OnError func(c *Client, err error)

	// OnRecord is called once for each connection, when it has ended; see
	// Clients.OnRecord.
	OnRecord func(Record)

	// IdleTimeout ends a client after so long without a byte either way, also
	// one that does not take what is written to it. Zero means never.
	IdleTimeout time.Duration

	// FrameTimeout ends a client whose frame has begun and is not whole after
	// so long: a byte now and then does not keep it. Zero means never.
	FrameTimeout time.Duration

	// WriteTimeout resets a client that takes no byte of what is pending for
	// so long; a slow one that takes some stays. It is kept to a sixteenth, or
	// a millisecond; under TLS progress is seen for each 64 KiB only. Zero
	// means never, but 10 seconds for a client that has ended.
	WriteTimeout time.Duration

	// MaxPending bounds the bytes that wait to be sent to one client: when so
	// many wait, WhenSlow decides about a further Write. One message over it
	// may be pending, so that any message can be sent. Zero means 1 MiB.
	MaxPending int

	// WhenSlow is what becomes of a Write over MaxPending. Zero means Block.
	WhenSlow WhenSlow

	once      sync.Once
	own       *clientCodec // of clients that have no other
	clients   Clients
	delayed   delayedFlush
	loops     eventloop.Lazy
	portables wait.Wait // portable pollers that have not ended
}

// TooLong says what becomes of a client that sends a frame over the codec's
// maximum.
type TooLong int

const (
	// TooLongEnd ends the client, after OnError. It is the default.
	TooLongEnd TooLong = iota
	// TooLongDiscard throws the frame away, however long it is, calls OnError once,
	// and goes on with the next frame. Codecs that cannot tell where that begins
	// (see frame.Discarder) end the client.
	TooLongDiscard
)

// Clients returns the set of clients being served, to range over or to shut
// down.
func (h *Frames) Clients() *Clients { return &h.clients }

// Handle implements Handler.
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
	if h.OnOpen == nil {
		c.flags.set(visible)
	}
	if !h.clients.add((*clientMember)(c)) {
		c.sending.set(gone)
		c.conn.Close()
		a.Done()
		return
	}
	if h.OnOpen != nil {
		c.conn.Wake() // it is the first to act
	}
	c.arm(c.nextDue())
	c.conn.Start()
}

// attach puts the connection on an event loop, or gives it a goroutine.
func (c *Client) attach() error {
	h, a := c.frames, c.accepted
	if fd, ok := a.Socket(); ok {
		if g := h.loops.Group(); g != nil && c.addTo(g, fd) == nil {
			c.conn = &c.socket
			return nil
		}
		defer netconn.RawClose(fd) // Conn makes a descriptor of its own
	}
	conn, err := a.Conn()
	if err != nil {
		return err
	}
	h.portables.Add(1)
	c.conn = eventloop.NewPortable(conn, (*poller)(c), h.portables.Done)
	return nil
}

func (c *Client) addTo(g *eventloop.Group, fd int) error {
	if c.accepted.Network() == "tcp" {
		return g.AddTCP(&c.socket, fd, (*poller)(c))
	}
	return g.Add(&c.socket, fd, (*poller)(c))
}

// Validate reports what the codec says of itself, where it can be set up wrongly;
// see frame.Validator. tcp.ListenAndServe asks it before it listens. Without that a
// client's first frame is a frame error.
func (h *Frames) Validate() error {
	if v, ok := h.codec().(frame.Validator); ok {
		return v.Validate()
	}
	return nil
}

func (h *Frames) init() {
	h.own = newClientCodec(h.codec())
	if h.OnRecord != nil {
		h.clients.OnRecord = h.OnRecord
	}
}

// Shutdown implements Shutdowner; see Clients.Shutdown.
func (h *Frames) Shutdown(ctx context.Context) error {
	err := h.clients.Shutdown(ctx)
	h.stop()
	return err
}

// Close implements Handler; see Clients.Close.
func (h *Frames) Close() error {
	err := h.clients.Close()
	h.stop()
	return err
}

// stop ends the goroutines of the pollers. A function that does not return is left behind.
func (h *Frames) stop() {
	h.loops.Stop()
	h.portables.WaitWithTimeout(stopGrace)
}

// Drained returns what Shutdown did with the clients, so far.
func (h *Frames) Drained() DrainStats { return h.clients.Drained() }

func (h *Frames) codec() frame.Codec {
	if h.Codec == nil {
		return frame.Line{}
	}
	return h.Codec
}

func (h *Frames) maxPending() int {
	if h.MaxPending <= 0 {
		return defaultMaxPending
	}
	return h.MaxPending
}
