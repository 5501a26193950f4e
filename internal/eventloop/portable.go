package eventloop

import (
	"net"
	"runtime"
	"sync"
	"time"

	"go.uber.org/atomic"

	"wireline/internal/netconn"
)

// past is a deadline that interrupts a Read or Write under way.
var past = time.Unix(1, 0)

// The states of a Portable, beside the events that wait for its serving goroutine.
const (
	serving    = 1 << iota // Ready runs, or is about to
	inRead                 // the goroutine waits for input; a read deadline interrupts it
	parked                 // the goroutine waits on the channel wake
	departed               // Close or Remove was called
	portStates = 1<<iota - 1
)

// Portable is a Conn over any net.Conn. One goroutine waits for its events and calls
// Ready.
//
// There are two kinds. A socket of package net, on unix systems, is read and written
// without waiting, past package net. Everything else has only a Read and a Write that
// wait; see overlapped.
type Portable struct {
	conn    net.Conn
	handler Handler
	ended   func()
	io      transport
	base    time.Time // Now counts from here

	state  atomic.Uint32
	reset  atomic.Bool   // Close sends a RST
	wake   chan struct{} // of capacity 1
	worker Worker

	// The serving goroutine's.
	started bool // there is such a goroutine, and the maker is not it
	armed   bool // the next input is an event
	late    bool // the read deadline may be over

	// mu is never held while a handler is called, and while conn does anything that can
	// wait.
	mu        sync.Mutex
	uses      int // goroutines, and the right to serve
	timer     *time.Timer
	due       int64         // when Expired is to be called; zero for never
	writing   bool          // a goroutine sees to what could not be written at once
	inWrite   bool          // it is in a call of conn
	unwritten chan struct{} // closed when it has returned from that; Remove waits
}

var _ Conn = (*Portable)(nil)

// transport does the I/O of a Portable. What the methods do is what those of Conn do
// that are named like them.
type transport interface {
	// await waits for input. It reports whether the read deadline ended the wait.
	await() (ev Event, late bool)

	read(p []byte) (n int, drained bool, err error)
	look(p []byte) (n int, drained bool, err error)
	discard(limit int) (n int, drained bool)
	write(parts [3][]byte) (n int, err error)
	watchOut(returning bool)
	unsent() int

	// returned is called by the serving goroutine after each Ready, and before the first.
	returned()

	// parked is called before the serving goroutine waits with input not armed.
	parked()

	// tellsBreak reports whether awaitBreak can tell more.
	tellsBreak() bool

	// awaitBreak is await for input that is not armed: it waits until the connection is
	// broken, and reports Hup, once.
	awaitBreak() (ev Event, late bool)

	// readErr is the error that a read has met and that Read is to return.
	readErr() error

	// interrupt, under mu, ends what the writing goroutine does in conn.
	interrupt()

	// finish is called before Close, unless that sends a RST: it sends what a Write has said
	// it could not take, and waits for that, but not for long.
	finish()

	// leave is the last call, with nothing else under way when the connection goes to
	// another owner. It returns what was read and not served.
	leave() (rest []byte)
}

// NewPortable makes a Conn of conn, with h to serve it. The caller counts as the serving
// goroutine until Start. After Close or Remove, ended is called once, when all goroutines
// have ended or are about to: by Close or Remove itself if Start was not called.
func NewPortable(conn net.Conn, h Handler, ended func()) *Portable {
	p := &Portable{
		conn: conn, handler: h, ended: ended, base: time.Now(), wake: make(chan struct{}, 1),
		worker: Worker{portable: true}, armed: true, uses: 1,
	}
	p.state.Store(serving)
	if p.io = newRaw(p); p.io == nil {
		p.io = newOverlapped(p)
	}
	return p
}

// Now implements Conn. It is never zero.
func (p *Portable) Now() int64 { return int64(time.Since(p.base)) + 1 }

// Start implements Conn.
func (p *Portable) Start() {
	p.started = true
	go p.run(false)
}

// run is the serving goroutine. If runtime.Goexit ends it in Ready, another one goes on.
func (p *Portable) run(more bool) {
	returned := false
	defer func() {
		if returned || p.gone() {
			p.release()
		} else {
			go p.run(true)
		}
	}()
	for p.io.returned(); !p.gone(); p.io.returned() {
		var ev Event
		if more {
			runtime.Gosched()
			ev = p.take()
		} else {
			ev = p.next()
		}
		more = p.handler.Ready(&p.worker, ev)
		if p.gone() {
			break
		}
	}
	returned = true
}

// next returns the next event, and waits for it.
func (p *Portable) next() (ev Event) {
	for ev == 0 {
		if p.late {
			p.late = false
			p.conn.SetReadDeadline(time.Time{})
		}
		if p.armed {
			ev = p.awaitInput()
		} else {
			ev = p.awaitWake()
		}
	}
	return ev
}

func (p *Portable) awaitInput() (ev Event) {
	if p.state.CompareAndSwap(serving, inRead) {
		ev, p.late = p.io.await()
		if ev != 0 {
			p.armed = false
		}
	}
	return ev | p.take()
}

// awaitWake waits with input not armed.
func (p *Portable) awaitWake() (ev Event) {
	p.io.parked()
	if p.io.tellsBreak() {
		if p.state.CompareAndSwap(serving, inRead) {
			ev, p.late = p.io.awaitBreak()
		}
	} else if p.state.CompareAndSwap(serving, parked) {
		<-p.wake
	}
	return ev | p.take()
}

// TellsBreak reports whether Ready is called with Hup when the connection breaks, once, also
// after an input that was not drained. Otherwise only Err tells, which has to be asked. It
// is for the serving goroutine.
func (p *Portable) TellsBreak() bool { return p.io.tellsBreak() }

// take returns the events that have come since.
func (p *Portable) take() Event { return Event(p.state.Swap(serving) &^ portStates) }

// gone reports whether Close or Remove was called.
func (p *Portable) gone() bool { return p.state.Load()&departed != 0 }

// Wake implements Conn.
func (p *Portable) Wake() {
	for {
		old := p.state.Load()
		if old&(uint32(Woken)|departed) != 0 {
			return
		}
		next := old | uint32(Woken)
		if old == parked {
			next = serving | uint32(Woken)
		}
		if !p.state.CompareAndSwap(old, next) {
			continue
		}
		switch old {
		case parked:
			p.wake <- struct{}{}
		case inRead:
			p.interruptRead()
		}
		return
	}
}

// interruptRead ends the wait for input. The goroutine may have ended it by itself, even
// have removed the connection, whose deadlines are another's then.
func (p *Portable) interruptRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Load()&inRead != 0 {
		p.conn.SetReadDeadline(past)
	}
}

// use, under mu, counts a goroutine that is about to start. It reports false when the
// connection is not this Portable's any more.
func (p *Portable) use() bool {
	if p.gone() {
		return false
	}
	p.uses++
	return true
}

// release takes back use.
func (p *Portable) release() {
	p.mu.Lock()
	p.uses--
	last := p.uses == 0
	p.mu.Unlock()
	if last && p.ended != nil {
		p.ended()
	}
}

// NetConn returns the connection that was given to NewPortable.
func (p *Portable) NetConn() net.Conn { return p.conn }

// Read implements Conn.
func (p *Portable) Read(b []byte) (n int, drained bool, err error) {
	n, drained, err = p.io.read(b)
	p.armed = drained
	return n, drained, err
}

// Look implements Conn.
func (p *Portable) Look(b []byte) (n int, drained bool, err error) {
	n, drained, err = p.io.look(b)
	p.armed = drained
	return n, drained, err
}

// Discard implements Conn.
func (p *Portable) Discard(limit int) (n int) {
	n, drained := p.io.discard(limit)
	p.armed = p.armed || drained
	return n
}

// Write implements Conn.
func (p *Portable) Write(parts [3][]byte) (n int, err error) { return p.io.write(parts) }

// WatchOut implements Conn.
func (p *Portable) WatchOut(returning bool) error {
	p.io.watchOut(returning)
	return nil
}

// CloseWrite implements Conn.
func (p *Portable) CloseWrite() error { return netconn.CloseWrite(p.conn) }

// Unsent implements Conn.
func (p *Portable) Unsent() int { return p.io.unsent() }

// Acknowledged implements Conn.
func (p *Portable) Acknowledged() bool { return netconn.AllAcknowledged(bare(p.conn)) }

// Err implements Conn.
func (p *Portable) Err() error { return netconn.Broken(bare(p.conn)) }

// ReadErr returns the error that the next Read will return behind what has arrived, if a read has
// met one already: then Err does not tell any more. It is for the serving goroutine.
func (p *Portable) ReadErr() error { return p.io.readErr() }

// LocalAddr implements Conn.
func (p *Portable) LocalAddr(net.Addr) net.Addr { return p.conn.LocalAddr() }

// SetLinger implements Conn. With 0 it also holds where Close would send something first,
// as under TLS.
func (p *Portable) SetLinger(seconds int) {
	p.reset.Store(seconds == 0)
	netconn.SetLinger(bare(p.conn), seconds)
}

// Reset implements Conn. It closes the net.Conn, which ends every call under way.
func (p *Portable) Reset() {
	p.SetLinger(0) // also where only bare knows the socket
	defer p.Wake() // also if conn panics
	netconn.Reset(p.conn)
}

// Close implements Conn. It may wait where conn.Close does, as under TLS, and until what was
// written last is sent, as a close_notify of TLS.
func (p *Portable) Close() {
	if !p.gone() && !p.reset.Load() {
		p.io.finish()
	}
	if p.depart() {
		defer p.conclude() // also if conn panics
		defer p.io.leave()
		if p.reset.Load() {
			netconn.Reset(p.conn)
		} else {
			p.conn.Close()
		}
	}
}

// Remove implements Conn. It waits until no other goroutine uses the connection.
func (p *Portable) Remove() (rest []byte) {
	if !p.depart() {
		return nil
	}
	p.awaitWriter()
	p.conn.SetDeadline(time.Time{})
	rest = p.io.leave()
	p.conclude()
	return rest
}

// depart notes that Close or Remove was called. It reports false if that is not the
// first call.
func (p *Portable) depart() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone() {
		return false
	}
	p.state.Store(serving | departed)
	p.stopTimer()
	return true
}

// conclude gives up the right to serve, where no goroutine has it that is still to end.
func (p *Portable) conclude() {
	if !p.started {
		p.release()
	}
}

// awaitWriter ends the call of conn that the writing goroutine is in, and waits for that.
func (p *Portable) awaitWriter() {
	p.mu.Lock()
	if !p.inWrite {
		p.mu.Unlock()
		return
	}
	unwritten := make(chan struct{})
	p.unwritten = unwritten
	p.io.interrupt()
	p.mu.Unlock()
	<-unwritten
}

// leaveWrite, under mu, notes that the writing goroutine has returned from conn.
func (p *Portable) leaveWrite() {
	p.inWrite = false
	if p.unwritten != nil {
		close(p.unwritten)
		p.unwritten = nil
	}
}

// bare returns the socket of package net in conn, where conn differs from it only in its
// addresses, as the connections of a server behind a PROXY header do; otherwise conn.
func bare(conn net.Conn) net.Conn {
	if in, ok := conn.(interface{ Socket() net.Conn }); ok {
		if s := in.Socket(); s != nil {
			return s
		}
	}
	return conn
}
