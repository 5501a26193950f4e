package testutil

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Listen listens on address. The listener is closed at the end of the test.
func Listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Dial connects to address. The connection is closed at the end of the test, and has a
// deadline after Patience.
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

// Pair returns both ends of a connection over the loopback interface. They are closed
// at the end of the test.
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

// SocketPath returns a path for a unix socket, in a folder that is removed at the end
// of the test. The path is short: systems limit it to about a hundred bytes.
func SocketPath(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}

// SetDeadline sets the deadline of a listener. It panics if the listener has none.
func SetDeadline(ln net.Listener, t time.Time) error {
	return ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

// PlainListener hides the type of a listener, so that a server cannot accept bare
// sockets from it: its connections are served by goroutines instead of event loops.
type PlainListener struct{ net.Listener }

// SetDeadline sets the deadline of the underlying listener.
func (l PlainListener) SetDeadline(t time.Time) error { return SetDeadline(l.Listener, t) }

// WrappingListener is a listener that wraps its connections in a WrappedConn.
type WrappingListener struct{ net.Listener }

// Accept returns a *WrappedConn.
func (l WrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &WrappedConn{conn}, nil
}

// WrappedConn hides the type of a connection, as TLS does: only the methods of net.Conn
// can be used.
type WrappedConn struct{ net.Conn }

// NetConn returns the underlying connection.
func (w *WrappedConn) NetConn() net.Conn { return w.Conn }

// CloseWrite closes the underlying connection for writing. It panics if that is not
// possible.
func (w *WrappedConn) CloseWrite() error {
	return w.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
