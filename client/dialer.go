package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"wireline/handler"
	"wireline/internal/handshakes"
	"wireline/lib/field"
	"wireline/lib/frame"
	"wireline/lib/logger"
	"wireline/lib/sync/wait"
)

// The values that hold if those of a Dialer are zero.
const (
	defaultConnectTimeout = 10 * time.Second
	defaultCloseTimeout   = 5 * time.Second
	defaultMaxInFlight    = 1000
	defaultMaxQueued      = 1 << 20
)

// endGrace is how long Close waits for goroutines and connections that should end by themselves.
const endGrace = 200 * time.Millisecond

// Dialer makes connections to servers of one protocol. They share its settings and its event loops.
// The zero value makes connections of lines that are discarded. Set the fields before the first
// connection, and do not change them afterwards. A Dialer must not be copied. Close it when it is no
// longer needed. All methods are safe for concurrent use.
type Dialer struct {
	// Codec finds the end of each frame. Nil means frame.Line{}.
	Codec frame.Codec

	// ID returns the id that a request and its answer have in common; ok is false for a frame that
	// has none, as a push. Request needs it. It must not keep the frame, nor block.
	ID func(frame []byte) (id string, ok bool)

	// OnFrame is called for each frame that is not the answer to a request: what the server pushes.
	// Calls for one Conn do not overlap. The frame is valid until OnFrame returns. An error ends
	// the connection, and it is made again. Nil means that such frames are discarded.
	//
	// OnFrame may block, but no answer comes meanwhile, and if the connection ends, the next one is
	// made only when OnFrame has returned. So to wait for an answer, or to close the Conn, start a
	// goroutine.
	OnFrame func(c *Conn, frame []byte) error

	// OnConnect, if not nil, is called for each connection that is made, before anything that waits
	// is sent: the place for a login. It may block; its time is a part of ConnectTimeout, and ctx
	// ends with it, and with the connection. An error ends the connection, and the attempt has failed.
	// To close the Conn, start a goroutine.
	OnConnect func(ctx context.Context, o *Opening) error

	// DialContext makes the connections. Nil means that of a net.Dialer, which looks up names, and
	// tries all addresses of a name (RFC 8305). It must return when ctx ends.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS makes the connections TLS. It is not changed. Where its ServerName is empty, that is the
	// host of the address; a unix socket has none. Its ClientSessionCache, if set, is called on an
	// event loop, and must not block.
	TLS *tls.Config

	// ConnectTimeout bounds each attempt: the connect, the TLS handshake and OnConnect together. Zero
	// means 10 seconds.
	ConnectTimeout time.Duration

	// Backoff says how long a Conn waits between attempts. It begins again after a connection that
	// was there for as long as Backoff.Max.
	Backoff Backoff

	// KeepAlive ends a connection on which the server has sent no byte for this time, and it is made
	// again. Zero means that a connection may be silent for ever; then only TCP notices that the
	// server has gone, which may take a quarter of an hour for a request that was sent.
	KeepAlive time.Duration

	// Ping, if not nil, returns the payload of a frame that the server answers. It is sent when the
	// server has sent nothing for half of KeepAlive; the server has the other half to send
	// anything.
	Ping func() []byte

	// FrameTimeout ends a connection whose server does not complete a frame within this time. Zero
	// means no timeout.
	FrameTimeout time.Duration

	// WriteTimeout ends a connection whose server accepts no byte of what is pending for this time.
	// Zero means 30 seconds, negative no timeout.
	WriteTimeout time.Duration

	// MaxInFlight limits how many requests may be under way on one Conn, also those that wait for a
	// connection. Further ones wait for their turn. Zero or less means 1000.
	MaxInFlight int

	// MaxPending limits what is pending on a connection, in bytes: Send and Request wait for room. Zero
	// or less means 1 MiB.
	MaxPending int

	// MaxQueued limits what waits for a connection on one Conn, in bytes. When it is reached, Send
	// and Request return ErrQueueFull. Zero means 1 MiB. Negative means that nothing waits: they
	// return ErrAway while there is no connection.
	MaxQueued int

	// CloseTimeout is how long Close waits for requests that are under way, and for what is
	// pending. Zero means 5 seconds.
	CloseTimeout time.Duration

	// Log is told when a connection is lost, of the first attempt that fails after that, and when
	// there is a connection again; at level debug, of everything else. Nil means slog.Default().
	// Nobody waits for it.
	Log *slog.Logger

	once       sync.Once
	frames     handler.Frames
	handshakes handshakes.Limiter
	background wait.Wait // goroutines that connect, and timers for them
	ctx        context.Context
	end        context.CancelFunc

	mu       sync.Mutex // may be held when that of a Conn is taken
	closed   bool
	conns    map[*Conn]struct{}
	finished Counts      // of the Conns that are closed
	tls      *tls.Config // the last one that tlsConfig has returned
}

// Dial makes a connection. It returns when the first attempt is over, and its error if that has
// failed, or the cause of ctx. After it has returned, ctx has no effect: the Conn connects again
// until it is closed.
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Conn, error) {
	c, err := d.open(&Conn{network: network, address: address, dialed: true})
	if err != nil {
		return nil, err
	}
	err = c.await(ctx, func() bool { return c.state != StateConnecting || c.failed > 0 })
	if err == nil {
		err = c.firstErr()
	}
	if err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// firstErr returns why there is no connection after the first attempt, or nil.
func (c *Conn) firstErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case StateConnected:
		return nil
	case StateClosed:
		return ErrClosed
	}
	return c.err
}

// Open returns a Conn that makes its connection in the background: also if the server cannot be
// reached now. The error is that of Validate, or ErrClosed.
func (d *Dialer) Open(network, address string) (*Conn, error) {
	return d.open(&Conn{network: network, address: address})
}

// open begins to connect c.
func (d *Dialer) open(c *Conn) (*Conn, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	d.once.Do(d.init)
	c.dialer, c.slots = d, make(chan struct{}, d.maxInFlight())
	c.counts.Conns = 1
	c.setState(StateConnecting)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	d.conns[c] = struct{}{}
	d.background.Add(1)
	go c.connect()
	return c, nil
}

// Validate reports every setting that is out of range, each as a *field.Error. Open calls it.
func (d *Dialer) Validate() error {
	var e field.Errors
	for _, timeout := range []struct {
		name string
		d    time.Duration
	}{
		{"ConnectTimeout", d.ConnectTimeout},
		{"KeepAlive", d.KeepAlive},
		{"FrameTimeout", d.FrameTimeout},
		{"CloseTimeout", d.CloseTimeout},
	} {
		e.Check(timeout.d >= 0, timeout.name, timeout.d, "must not be negative")
	}
	e.Check(d.Ping == nil || d.KeepAlive > 0, "KeepAlive", d.KeepAlive, "must be set, as Ping is")
	if v, ok := d.Codec.(frame.Validator); ok {
		e.Add(v.Validate())
	}
	return e.Err()
}

// init prepares the Dialer for its first Conn.
func (d *Dialer) init() {
	d.ctx, d.end = context.WithCancel(context.Background())
	d.conns = make(map[*Conn]struct{})
	f := &d.frames
	f.Codec = d.Codec
	f.FullDuplex, f.WholeFrames = true, true
	f.ReadTimeout, f.FrameTimeout, f.WriteTimeout = d.KeepAlive, d.FrameTimeout, d.WriteTimeout
	f.MaxPending = d.MaxPending
	f.OnOpen = func(h *handler.Client) error { return linkOf(h).open(h) }
	f.OnFrame = func(h *handler.Client, frame []byte) error { return linkOf(h).serve(frame) }
	f.OnEnd = func(h *handler.Client) { linkOf(h).end() }
	f.OnRecord = func(handler.Record) {} // Log is told by the Conn
	if d.Ping != nil {
		f.OnIdle = d.ping
	}
}

// ping sends a ping, if there is room for it. If not, the server has yet to read other frames, and
// may send something then.
func (d *Dialer) ping(h *handler.Client) error {
	err := h.Offer(&handler.Message{Payload: d.Ping()})
	if errors.Is(err, handler.ErrSlowReader) {
		return nil
	}
	return err
}

// All returns an iterator over the Conns that are not closed.
func (d *Dialer) All() iter.Seq[*Conn] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Values(slices.Collect(maps.Keys(d.conns)))
}

// Close is Shutdown with CloseTimeout.
func (d *Dialer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(d.CloseTimeout, defaultCloseTimeout))
	defer cancel()
	return d.Shutdown(ctx)
}

// Shutdown shuts all Conns down, at the same time; see Conn.Shutdown. It joins their errors. No Conn
// can be made afterwards.
func (d *Dialer) Shutdown(ctx context.Context) error {
	d.once.Do(d.init)
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	var shutdowns sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for c := range d.All() {
		shutdowns.Go(func() {
			if err := c.Shutdown(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	shutdowns.Wait()
	d.end()
	d.frames.Close()
	d.background.WaitWithTimeout(endGrace)
	return errors.Join(errs...)
}

// remove forgets a Conn that is closed. Its counts stay.
func (d *Dialer) remove(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.conns[c]; ok {
		delete(d.conns, c)
		d.finished.add(c.Status().Counts)
	}
}

func (d *Dialer) log() *slog.Logger { return logger.Async(d.Log) }

func (d *Dialer) maxInFlight() int {
	if d.MaxInFlight <= 0 {
		return defaultMaxInFlight
	}
	return d.MaxInFlight
}

func (d *Dialer) maxQueued() int { return cmp.Or(d.MaxQueued, defaultMaxQueued) }

// encode encodes a payload as a frame, which is not nil.
func (d *Dialer) encode(payload []byte) ([]byte, error) {
	codec := d.Codec
	if codec == nil {
		codec = frame.Line{}
	}
	return codec.Append(make([]byte, 0, len(payload)+16), payload)
}
