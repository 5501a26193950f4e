package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"

	"wireline/handler"
	"wireline/internal/transport"
)

// link is one connection of a Conn. It is the handler.Accepted as which a handler.Frames serves it.
type link struct {
	conn          *Conn
	local, remote net.Addr
	tls           *tls.Conn // after its handshake; nil without TLS

	// The owner of the connection owns these.
	base  net.Conn // nil for a bare socket
	fd    int      // the bare socket; -1 if there is none
	taken bool     // Socket has returned the bare socket

	// Under Conn.mu.
	client *handler.Client // nil before OnOpen
	err    error           // why it has ended, or is to; nil before that
	gone   bool            // it is closed

	watched bool // watch was called; only for OnFrame
}

var _ handler.Accepted = (*link)(nil)

// linkOf returns the link that a handler.Client serves.
func linkOf(h *handler.Client) *link { return h.Accepted().(*link) }

// open is the OnOpen function.
func (l *link) open(h *handler.Client) error {
	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return handler.ErrQuit
	}
	l.client, c.serving = h, true
	c.wakeWaiters()
	return nil
}

// serve is the OnFrame function.
func (l *link) serve(frame []byte) error {
	c := l.conn
	if c.answer(l, frame) {
		return nil
	}
	c.mu.Lock()
	c.counts.Pushes++
	c.mu.Unlock()
	if c.dialer.OnFrame == nil {
		return nil
	}
	l.watch()
	return c.dialer.OnFrame(c, frame)
}

// watch has the Conn learn of the end of the connection also while OnFrame runs, for which OnEnd waits.
// A connection on which nothing is pushed does not need it, and does not pay for it.
func (l *link) watch() {
	if !l.watched {
		l.watched = true
		context.AfterFunc(l.client.Context(), l.lost)
	}
}

// lost tells the Conn that the connection has ended.
func (l *link) lost() { l.conn.lost(l, reasonOf(l.client.Record())) }

// end is the OnEnd function: OnFrame is not called any more.
func (l *link) end() {
	l.lost()
	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving = false
	c.wakeWaiters()
}

// served returns the handler.Client of the connection; nil before OnOpen.
func (l *link) served() *handler.Client {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return l.client
}

// close ends the connection after what is pending was sent.
func (l *link) close() {
	if h := l.served(); h != nil {
		h.Close()
	}
}

// reset ends the connection at once.
func (l *link) reset() {
	if h := l.served(); h != nil {
		h.CloseWith(handler.CloseReset)
	}
}

// Context implements handler.Accepted.
func (l *link) Context() context.Context { return l.conn.dialer.ctx }

// LocalAddr implements handler.Accepted.
func (l *link) LocalAddr() net.Addr { return l.local }

// RemoteAddr implements handler.Accepted.
func (l *link) RemoteAddr() net.Addr { return l.remote }

// Network implements handler.Accepted.
func (l *link) Network() string {
	if l.local == nil {
		return ""
	}
	return l.local.Network()
}

// CloseMode implements handler.Accepted.
func (l *link) CloseMode() handler.CloseMode { return handler.CloseDefault }

// Memory implements handler.Accepted.
func (l *link) Memory() *handler.Memory { return nil }

// TLS implements handler.Accepted.
func (l *link) TLS() *tls.Conn { return l.tls }

// Socket implements handler.Accepted.
func (l *link) Socket() (fd int, ok bool) {
	if l.tls != nil {
		return -1, false
	}
	return l.takeSocket()
}

// takeSocket is Socket, also under TLS.
func (l *link) takeSocket() (fd int, ok bool) {
	if l.fd < 0 || l.taken {
		return -1, false
	}
	l.taken = true
	return l.fd, true
}

// Conn implements handler.Accepted.
func (l *link) Conn() (net.Conn, error) {
	if l.base == nil {
		base, err := copySocket(l.fd)
		if err != nil {
			return nil, err
		}
		l.base = base
		if t := transport.Of(l.tls); t != nil {
			t.SetBase(base)
		}
	}
	if l.tls != nil {
		return l.tls, nil
	}
	return l.base, nil
}

// Panicked implements handler.Accepted.
func (l *link) Panicked(v any) {
	l.conn.dialer.logPanic(l.conn, v)
}

// logPanic logs a panic with value v in a function of the user's; nil is runtime.Goexit. The deferred
// function calls it.
func (d *Dialer) logPanic(c *Conn, v any) {
	if v == nil {
		v = "runtime.Goexit"
	}
	d.log().Error("client panicked", "server", c.address, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// Done implements handler.Accepted.
func (l *link) Done() {
	c := l.conn
	c.lost(l, errNotServed) // otherwise that is known by now
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.gone {
		return
	}
	l.gone = true
	c.links--
	c.wakeWaiters()
}

// errNotServed is why an attempt has failed whose connection could not be put on a poller.
var errNotServed = errors.New("client: the connection could not be served")
