package testutil

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Listen listens until the end of the test.
func Listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Dial connects to address until the end of the test. Nothing waits on the connection for
// longer than Patience.
func Dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, address, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(Patience))
	return conn
}

// Pair returns both ends of a connection over the loopback interface, until the end of the
// test.
func Pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// SocketPath returns a path for a unix socket. It is short: systems allow about a hundred
// bytes.
func SocketPath(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}

// SetDeadline sets the deadline of a listener that has one.
func SetDeadline(ln net.Listener, t time.Time) error {
	return ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

// PlainListener hides what a listener is, so that a server cannot accept raw sockets from it:
// goroutines serve its connections, not the event loops.
type PlainListener struct{ net.Listener }

// SetDeadline is that of the listener inside.
func (l PlainListener) SetDeadline(t time.Time) error { return SetDeadline(l.Listener, t) }

// WrappingListener wraps its connections.
type WrappingListener struct{ net.Listener }

// Accept returns a *WrappedConn.
func (l WrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &WrappedConn{conn}, nil
}

// WrappedConn hides what a connection is, as TLS does: it is served through net.Conn alone.
type WrappedConn struct{ net.Conn }

// NetConn returns the connection inside.
func (w *WrappedConn) NetConn() net.Conn { return w.Conn }

// CloseWrite is that of the connection inside.
func (w *WrappedConn) CloseWrite() error {
	return w.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
