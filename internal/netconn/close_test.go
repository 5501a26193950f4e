package netconn_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// pair is a connection over the loopback interface, with deadlines.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client, server = testutil.Pair(t)
	client.SetDeadline(time.Now().Add(10 * time.Second))
	server.SetDeadline(time.Now().Add(10 * time.Second))
	return client, server
}

// wrapper is a connection around another, as tls.Conn is.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

// sealed is one that says nothing of what is inside.
type sealed struct{ net.Conn }

func TestReset(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain":         func(c net.Conn) net.Conn { return c },
		"wrapped":       func(c net.Conn) net.Conn { return wrapper{c} },
		"wrapped twice": func(c net.Conn) net.Conn { return wrapper{wrapper{c}} },
		"under TLS":     func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			if err := netconn.Reset(wrap(server)); err != nil {
				t.Errorf("Reset: %v", err)
			}
			if _, err := client.Read(make([]byte, 1)); !netconn.IsReset(err) {
				t.Errorf("the peer reads %v, want a reset", err)
			}
		})
	}
}

func TestResetWhereThereIsNone(t *testing.T) {
	client, server := pair(t)
	netconn.Reset(sealed{server})
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v, want the end", err)
	}
}

func TestCloseWrite(t *testing.T) {
	client, server := pair(t)
	if err := netconn.CloseWrite(server); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v, want the end", err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Errorf("the other direction: %v", err)
	}
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the other direction: %d, %v", n, err)
	}
	if err := netconn.CloseWrite(sealed{server}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite of what has none: %v", err)
	}
}

// Who does not read can ask.
func TestBroken(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("nothing tells")
	}
	client, server := pair(t)
	client.Write([]byte("x"))
	netconn.CloseWrite(client)
	if err := netconn.Broken(server); err != nil {
		t.Errorf("after a FIN: %v", err)
	}
	netconn.Reset(client)
	var err error
	for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); {
		err = netconn.Broken(wrapper{server})
	}
	if !netconn.IsReset(err) {
		t.Errorf("after a RST: %v", err)
	}
	if b, err := io.ReadAll(server); string(b) != "x" || err != nil {
		t.Errorf("then read %q, %v", b, err)
	}
	memory, peer := tcptest.Pipe()
	if err := netconn.Broken(memory); err != nil {
		t.Errorf("in memory: %v", err)
	}
	peer.Reset()
	if err := netconn.Broken(memory); !netconn.IsReset(err) {
		t.Errorf("in memory, after a RST: %v", err)
	}
}
