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

// DefaultBacklog is how many connections wait for Accept before Dial waits,
// unless the caller says otherwise.
const DefaultBacklog = 128

// Listener is a [net.Listener] whose connections come from its Dial methods.
// [Listen] makes it; the zero value is of no use.
//
// All methods may be called from several goroutines at the same time. The
// fields are to be set before that. A Listener has no goroutine. Close it when
// the test is over, so that connections that nobody accepts are reset; those
// that were accepted live on.
//
// Every error is a [*net.OpError], but that of SetDeadline, which a
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
	changed  sync.Cond // broadcast after every change of what follows
	queue    []*Conn   // the server's ends that wait for Accept
	deadline deadline
	closed   bool
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener with an address of its own.
func Listen() *Listener {
	l := &Listener{addr: nextAddr(serverIP)}
	l.changed.L = &l.mu
	return l
}

// Accept waits for a connection and returns the server's end, a [*Conn]. It
// fails with [net.ErrClosed] once the listener is closed, and with
// [os.ErrDeadlineExceeded] once its deadline has passed. As on Linux, the
// connection may have been reset in the backlog: its first Read tells.
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

// Dial is DialContext with a context that never ends.
func (l *Listener) Dial() (*Conn, error) {
	return l.dial(context.Background(), netip.AddrPort{})
}

// DialContext connects to the listener and returns the client's end, which can
// be used at once: it need not wait for Accept, only for room in the backlog.
// It fails with [syscall.ECONNREFUSED] when the listener is or gets closed, and
// with the error of ctx when that comes first. Later, ctx is of no account.
func (l *Listener) DialContext(ctx context.Context) (*Conn, error) {
	return l.dial(ctx, netip.AddrPort{})
}

// DialFrom is Dial from the given address, for handlers that treat their clients
// by where they come from. Without an IP address, or with port 0, the listener
// chooses that part. It does not ask whether another client has the address.
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

// Close ends the listener. Calls that wait in it fail, and the connections that
// wait for Accept are reset, as the kernel resets them. A second Close fails
// with [net.ErrClosed].
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

// SetDeadline sets the time at which calls of Accept, those that wait included,
// start to fail with [os.ErrDeadlineExceeded], also when a connection waits. The
// zero time means never.
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
