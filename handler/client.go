package handler

import (
	"context"
	"errors"
	"net"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"go.uber.org/atomic"

	"wireline/internal/netconn"
	"wireline/lib/frame"
	"wireline/lib/sync/wait"
)

var (
	// ErrClosed is what a Client's methods return once it has ended, joined
	// with what ended it if that was an error.
	ErrClosed = errors.New("handler: client closed")

	// ErrClose, returned by a frame function, closes the client in good
	// order: what was written is sent, then a FIN. It is no error in the
	// record.
	ErrClose = errors.New("handler: close this client")
)

// Client is one connection as a handler sees it. It hides how the connection
// is held and read. All methods are safe for concurrent use, but for Hijack.
type Client struct {
	// Value is the user's own, for what belongs to this client. Set it in
	// OnOpen, or before conn.Client() is given to others; after that it may be
	// read from anywhere, and who changes it takes care of the locking.
	Value any

	id     uint64
	ctx    context.Context
	wire   wire
	frames *Frames // nil for the client of a plain handler
	begin  moment

	// Of the standard library, for an idle client's sake: go.uber.org/atomic
	// aligns each of these to eight bytes.
	opened   stdatomic.Bool // OnOpen has set Value: others may see the client
	draining stdatomic.Bool
	paused   stdatomic.Bool
	resumed  stdatomic.Bool // since restartFrame has looked
	polled   bool           // on an event loop: what the socket does not take is sent by the loop
	direct   bool           // tryWrite writes

	// Under mu.
	busy    bool
	shut    bool // nothing more is taken
	late    bool // in the handler's list of those whose replies may be late
	inline  bool // the batch is watched by its loop
	awaited bool // wake is to be called when all is sent
	watched bool // the loop tells when the socket takes more

	ending atomic.Pointer[ending]

	// Of the goroutine that serves the client at the moment: what was read and
	// not served, nil while there is nothing; what the counters below do not
	// have yet; and when the frame that is not whole yet began, by the wire's
	// clock, zero if there is none.
	in                *frame.Buffer
	bytesIn, framesIn int64
	partial           int64

	// mu guards what is below. It is taken a few times for a batch of frames,
	// so the counters cost nothing of their own.
	mu      sync.Mutex
	count   counters
	changed *clientCodec // the codec, if it is not the handler's
	out     *output
	fail    error // why nothing can be written any more
}

// owner is the set that the client is in.
func (c *Client) owner() *Clients {
	if c.frames != nil {
		return &c.frames.clients
	}
	return c.wire.(*Conn).owner
}

// moment is a point in time, as time.Time with its two clocks, but of two words:
// an idle client has little more than its Client.
type moment struct {
	wall int64 // Unix time in nanoseconds
	mono int64 // since epoch
}

// epoch is what monotonic time is counted from.
var epoch = time.Now()

func now() moment { return moment{wall: time.Now().UnixNano(), mono: int64(time.Since(epoch))} }

func (m moment) time() time.Time { return time.Unix(0, m.wall) }

func (m moment) elapsed() time.Duration { return time.Since(epoch) - time.Duration(m.mono) }

// counters are the figures of a Record.
type counters struct {
	bytesIn, bytesOut, framesIn, framesOut int64
}

// ending is who ended a connection and why. The first to say so is right: what
// fails after that is a consequence.
type ending struct {
	by     Party
	reason Reason
	err    error
	took   stdatomic.Int64 // a Duration: from begin until the connection was closed; zero until then
	mode   CloseMode       // if asked
	asked  bool            // CloseWith has
}

// wire is how a client's connection is held.
type wire interface {
	// endBatch writes what was gathered since beginBatch, and waits for it if
	// that is the connection's way. A failure has ended the client.
	endBatch(bytes, frames int64)

	// addrs are the two ends of the connection.
	addrs() (local, remote net.Addr)

	// serverMode is how the server closes its connections; see Accepted.CloseMode.
	serverMode() CloseMode

	// tryWrite writes what can be written without waiting of the three parts,
	// one after the other. It returns errWouldBlock with the count where that
	// is not all.
	tryWrite(parts [3][]byte) (int, error)

	// write writes all of p, and waits for it as long as the write time-out
	// allows.
	write(p []byte) (int, error)

	// touch notes that a byte was read or written; last tells when the last
	// one was.
	touch()
	last() int64

	// now is the time by the clock of last.
	now() int64

	// writers counts the goroutines that write to the connection besides the
	// one that serves it: before a close they are waited for. Nil if there are
	// none.
	writers() *wait.Wait

	// wake interrupts who waits to read from the connection, now or the next
	// time, so that he looks at the client's state.
	wake()

	// resume is wake for a client that was paused.
	resume()

	// reset closes the connection with a RST.
	reset()
}

// ID returns the client's number: the handler's connections count from 1.
func (c *Client) ID() uint64 { return c.id }

// Context returns the context that Handle was called with. It ends when the
// server cuts its connections.
func (c *Client) Context() context.Context { return c.ctx }

// LocalAddr returns the server's end of the connection.
func (c *Client) LocalAddr() net.Addr {
	local, _ := c.wire.addrs()
	return local
}

// RemoteAddr returns the client's end of the connection.
func (c *Client) RemoteAddr() net.Addr {
	_, remote := c.wire.addrs()
	return remote
}

// Busy reports whether a frame of the client is being served, or a reply or
// another message to it is not yet written. Half a frame that has come does not
// make it busy.
func (c *Client) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy || c.out != nil && c.out.size > 0
}

func (c *Client) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// Close asks for the client's end in good order and returns at once: no
// further frame is begun, what is written is sent, then comes a FIN; CloseWith has
// other ways. It returns nil.
func (c *Client) Close() error {
	c.end(ByServer, Closed, nil)
	c.wire.wake()
	return nil
}

// Record returns the client's record as it is now. Until the client has ended,
// By and Reason are empty.
func (c *Client) Record() Record {
	end := c.ending.Load()
	took := time.Duration(0)
	if end == nil {
		end = new(ending)
	} else {
		took = time.Duration(end.took.Load())
	}
	c.mu.Lock()
	count := c.count
	c.mu.Unlock()
	if took == 0 {
		took = c.begin.elapsed()
	}
	return Record{
		ID:        c.id,
		Peer:      c.RemoteAddr(),
		Begin:     c.begin.time(),
		Duration:  took,
		BytesIn:   count.bytesIn,
		BytesOut:  count.bytesOut,
		FramesIn:  count.framesIn,
		FramesOut: count.framesOut,
		By:        end.by,
		Reason:    end.reason,
		Err:       end.err,
	}
}

// countIn counts what was read and served.
func (c *Client) countIn(bytes, frames int64) {
	c.mu.Lock()
	c.count.bytesIn += bytes
	c.count.framesIn += frames
	c.mu.Unlock()
}

// end notes who ended the connection and why, if nobody did before.
func (c *Client) end(by Party, reason Reason, err error) {
	if c.ending.Load() == nil {
		c.ending.CompareAndSwap(nil, &ending{by: by, reason: reason, err: err})
	}
}

// ended reports whether the client has come to its end.
func (c *Client) ended() bool { return c.ending.Load() != nil }

// reason returns why the client has ended; empty until then.
func (c *Client) reason() Reason {
	if e := c.ending.Load(); e != nil {
		return e.reason
	}
	return ""
}

// endIO notes an end that a failed read or write tells of.
func (c *Client) endIO(err error) {
	switch {
	case errors.Is(err, errWriteTimeout):
		c.end(ByServer, WriteTimeout, err)
	case errors.Is(err, errIdleTimeout):
		c.end(ByServer, IdleTimeout, err)
	case errors.Is(err, net.ErrClosed) && c.ctx.Err() != nil:
		c.end(ByServer, Cut, nil) // by the server, which does not know the client
	case errors.Is(err, net.ErrClosed):
		c.end(ByServer, Closed, nil)
	case netconn.IsReset(err):
		c.end(ByClient, Reset, err)
	default:
		c.end(ByClient, IOError, err)
	}
}

// abort ends the client with a RST.
func (c *Client) abort(by Party, reason Reason, err error) {
	c.end(by, reason, err)
	if c.polled {
		c.failPolled()
	}
	c.wire.reset()
}

// failPolled has writes fail, as nobody else finds out while a frame is being served. It
// comes before the reset, which wakes who serves: he would wait for what is unsent.
func (c *Client) failPolled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return
	}
	c.fail = ErrClosed
	if c.out != nil {
		c.out.changed.Broadcast()
	}
}

// member is a client in its set.
type member struct{ *Client }

// Drain implements drain.Member: an idle client gets its FIN when it is woken.
func (m member) Drain() (busy bool) {
	m.draining.Store(true)
	return m.Busy()
}

// Wake implements drain.Member.
func (m member) Wake() { m.wire.wake() }

// Cut implements drain.Member. It ends the client with a RST, also one that a drain
// has ended already, but whose reply is still on its way.
func (m member) Cut() bool {
	e := m.ending.Load()
	if e != nil && e.reason == Hijacked {
		return false
	}
	if e != nil && e.reason == Drain {
		m.ending.CompareAndSwap(e, &ending{by: ByServer, reason: Cut})
	}
	m.abort(ByServer, Cut, nil)
	return true
}

// stopping reports whether no further frame is to be begun.
func (c *Client) stopping() bool { return c.draining.Load() || c.ended() }
