package eventloop

import "net"

// Handler serves a Conn. It is written once, and runs over both pollers.
type Handler interface {
	// Ready is called when ev has happened, by one goroutine at a time. On an
	// event loop it may block: the loop goes on in another goroutine then. It
	// returns true to be called again, with no event, after others had a turn.
	//
	// Input is edge-triggered: after an In or a Hup, no further one comes until
	// a Read has reported that the input is drained. But a Hup comes when the
	// connection breaks, where the poller can tell (Portable.TellsBreak): then
	// Conn.Err tells what has happened.
	//
	// A panic is not recovered. runtime.Goexit ends the call only.
	Ready(w *Worker, ev Event) (more bool)

	// Writable is called after Conn.WatchOut when more can be sent: at least one
	// byte was taken, or writing has failed. It is called also while Ready runs
	// elsewhere, and must not block.
	Writable()

	// Slow is called by another goroutine when Ready has lost its loop because
	// it takes so long; it may have returned by then. It must not block. The
	// portable poller never calls it.
	Slow()

	// Expired is called when the timer of Conn.SetTimer expires, also while Ready
	// runs, and must not block.
	Expired()
}

// BreakHandler is a Handler that is told when the connection breaks while Ready runs. After Ready
// has returned, it is called with Hup as well.
type BreakHandler interface {
	Handler

	// Broken may be called when the connection is broken: Conn.Err tells. The portable poller never
	// calls it. It is called also while Ready runs elsewhere, and must not block.
	Broken()
}

// Event is a set of things that have happened to a Conn.
type Event uint32

const (
	// In: there may be something to read.
	In Event = 1 << (iota + 8)
	// Hup: the peer has closed its side, or the connection is broken, or there
	// is urgent data: only a read that finds nothing has read all.
	Hup
	// Woken: Wake was called.
	Woken
)

// Transport is what is read and written: a connection, or TLS over one. Nothing of it waits,
// but for what Look says.
//
// A connection has one serving goroutine at a time: the one in Ready, or the maker until
// Start. What only that goroutine may call is marked below. The other methods may be
// called from any goroutine while the connection is open. The caller sees to it that none
// of them runs at the same time as, or after, Close.
type Transport interface {
	// Read reads what has arrived, without waiting. p is not empty. drained tells that
	// nothing is left to be read for now, so that the next input is a new event; with
	// n == 0 and no error, nothing had arrived. The end of the stream is io.EOF. For
	// the serving goroutine.
	Read(p []byte) (n int, drained bool, err error)

	// Look is Read for a caller that no event has told of input: where only a blocking
	// read can tell, it waits for a millisecond. For the serving goroutine.
	Look(p []byte) (n int, drained bool, err error)

	// Discard throws away up to limit bytes of what has arrived, without waiting, and
	// returns how many that was. For the serving goroutine.
	Discard(limit int) (n int)

	// Write sends the parts one after the other, as far as that is possible without
	// waiting, and returns how many bytes were taken. If that is not everything and
	// err is nil, the next Write must begin with the bytes that were left. It may
	// offer fewer of them than the Write before: then more bytes may have been taken
	// than it offers. Calls must not overlap.
	Write(parts [3][]byte) (n int, err error)

	// WatchOut arranges for Writable to be called when more can be sent. It is called
	// after each Write that could not take everything. returning tells that the caller
	// is the serving goroutine and about to return from Ready: where a write has to
	// wait, that goroutine carries it out then, which saves another one. Otherwise the
	// write is carried out at once, also while Ready runs and waits for it.
	WatchOut(returning bool) error

	// CloseWrite sends a FIN after what was written. It returns errors.ErrUnsupported
	// where the other direction cannot stay open. For the serving goroutine.
	CloseWrite() error

	// Unsent is how many bytes of what was written are not known to have arrived;
	// zero where that cannot be told. It may be an estimate from a moment ago. It
	// serves to see progress: the value gets smaller as the peer takes bytes.
	Unsent() int

	// Acknowledged reports whether the peer has acknowledged everything that was
	// written, and the FIN, or never will. It is true where that cannot be told.
	Acknowledged() bool

	// SetLinger sets SO_LINGER: seconds, 0 for a RST, -1 for off. It does nothing
	// where there is no such option.
	SetLinger(seconds int)

	// Close removes the connection from its poller and closes it. For the serving
	// goroutine.
	Close()
}

// Placement tells a Group where a socket goes, and what is known of it.
type Placement struct {
	// Beside is a socket whose loop this one is to be on, so that one goroutine can serve both
	// without going to another processor. nil means the emptier of two loops.
	Beside *Socket

	// TCP tells that this is a TCP socket. Without it, Add asks the system.
	TCP bool
}

// Conn is a connection on a poller. A Socket is one on an event loop of Linux;
// NewPortable makes one of any net.Conn.
type Conn interface {
	Transport

	// Now is the poller's clock, in nanoseconds. It never jumps.
	Now() int64

	// Start gives up serving after the Conn was added to its poller: Ready may be
	// called from now on.
	Start()

	// Wake arranges for Ready to be called with Woken. It does nothing after Close or
	// Remove.
	Wake()

	// SetTimer arranges for Expired to be called once, at due or up to 20 ms later,
	// by the clock of Now. A further call replaces it; zero stops it.
	SetTimer(due int64)

	// Err returns what has broken the connection, or nil, and clears it.
	Err() error

	// LocalAddr is the local address. For a socket that was accepted, known is what
	// its listener says; the system is asked only if that names no host.
	LocalAddr(known net.Addr) net.Addr

	// Reset sends a RST now, although other goroutines may be reading or writing:
	// their calls fail. The serving goroutine still has to call Close.
	Reset()

	// Remove takes the Conn off its poller and leaves the connection open: it is the
	// caller's from now on, with no deadlines set. rest is what was read from it and
	// not returned by Read. For the serving goroutine.
	Remove() (rest []byte)
}
