package tcptest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBacklog is how many connections may wait for Accept if Backlog is zero.
const DefaultBacklog = 128

// Listener is a [net.Listener] in memory. Its Dial methods connect to it. [Listen]
// returns one; the zero value is not usable.
//
// All methods are safe for concurrent use. Set the fields before the first call. A
// Listener has no goroutine. Close it at the end of the test, so that connections that
// were not accepted are reset; accepted ones stay open.
//
// Every error is a [*net.OpError], except that of SetDeadline, which a
// [net.TCPListener] does not wrap either.
type Listener struct {
	// Buffer is how many bytes a connection holds in each direction. Zero or
	// less means DefaultBuffer.
	Buffer int

	// Backlog is how many connections may wait for Accept. Zero or less means
	// DefaultBacklog.
	Backlog int

	addr *net.TCPAddr

	mu       sync.Mutex
	changed  sync.Cond // signaled after every change of the fields below
	queue    []*Conn   // server ends that wait for Accept
	deadline deadline
	closed   bool
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a new listener. No other listener has its address.
func Listen() *Listener {
	l := &Listener{addr: nextAddr(serverIP)}
	l.changed.L = &l.mu
	return l
}

// Accept waits for a connection and returns the server end, a [*Conn]. It fails with
// [net.ErrClosed] after Close, and with [os.ErrDeadlineExceeded] after the deadline. As
// on Linux, the connection may already have been reset; then its first Read returns the
// error.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", net.ErrClosed)
		case l.deadline.passed():
			return nil, l.opError("accept", os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue = l.queue[1:]
			l.changed.Broadcast()
			return c, nil
		}
		l.changed.Wait()
	}
}

// Dial is DialContext with context.Background().
func (l *Listener) Dial() (*Conn, error) {
	return l.dial(context.Background(), netip.AddrPort{})
}

// DialContext connects to the listener and returns the client end. The client end can
// be used at once: DialContext does not wait for Accept, only for room in the backlog.
// It fails with [syscall.ECONNREFUSED] if the listener is closed, now or while
// DialContext waits, and with the error of ctx if ctx ends first. After it has
// returned, ctx has no effect.
func (l *Listener) DialContext(ctx context.Context) (*Conn, error) {
	return l.dial(ctx, netip.AddrPort{})
}

// DialFrom is Dial from the given address, for handlers that treat clients by their
// address. If the IP address is invalid or the port is 0, the listener chooses it.
// DialFrom does not check whether another client has the same address.
func (l *Listener) DialFrom(addr netip.AddrPort) (*Conn, error) {
	return l.dial(context.Background(), addr)
}

func (l *Listener) dial(ctx context.Context, from netip.AddrPort) (*Conn, error) {
	stop := context.AfterFunc(ctx, l.wake)
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, l.opError("dial", ctx.Err())
		case l.closed:
			return nil, l.opError("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))
		case len(l.queue) < l.backlog():
			client, server := newPair(addrFrom(from), l.addr, l.Buffer)
			l.queue = append(l.queue, server)
			l.changed.Broadcast()
			return client, nil
		}
		l.changed.Wait()
	}
}

func (l *Listener) backlog() int {
	if l.Backlog <= 0 {
		return DefaultBacklog
	}
	return l.Backlog
}

// Close closes the listener. Blocked calls fail, and the connections that wait for
// Accept are reset, as the kernel does. A second Close fails with [net.ErrClosed].
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.opError("close", net.ErrClosed)
	}
	l.closed = true
	for _, c := range l.queue {
		c.Reset()
	}
	l.queue = nil
	l.deadline.stop()
	l.changed.Broadcast()
	return nil
}

// SetDeadline sets the time after which all calls of Accept, also blocked ones, fail
// with [os.ErrDeadlineExceeded], even if a connection is waiting. The zero time means
// no deadline.
func (l *Listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.deadline.set(t, l.wake)
	l.changed.Broadcast()
	return nil
}

func (l *Listener) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
}

// Addr returns the address of the listener, a [*net.TCPAddr].
func (l *Listener) Addr() net.Addr { return l.addr }

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Addr: l.addr, Err: err}
}
