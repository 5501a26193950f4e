package handler_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
)

// named is a connection with its own remote address, as after a PROXY header. Nothing
// may be read or written through it: its socket is used directly.
type named struct {
	*net.TCPConn
	t *testing.T
}

func (n named) Socket() net.Conn     { return n.TCPConn }
func (n named) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711} }

func (n named) Read(p []byte) (int, error) {
	n.t.Error("Read of the outer connection")
	return n.TCPConn.Read(p)
}

func (n named) Write(p []byte) (int, error) {
	n.t.Error("Write of the outer connection")
	return n.TCPConn.Write(p)
}

// namedPair returns the two ends of a loopback connection. The server end is a named
// connection.
func namedPair(t *testing.T) (client net.Conn, server named) {
	t.Helper()
	client, conn := testutil.Pair(t)
	client.SetDeadline(time.Now().Add(patience))
	return client, named{conn.(*net.TCPConn), t}
}

// The inner socket is read and written directly, while RemoteAddr is that of the outer
// connection.
func TestNamedConnection(t *testing.T) {
	t.Run("frames", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("on this system only package net can read sockets")
		}
		client, server := namedPair(t)
		records := newRecords()
		h := &handler.Frames{OnRecord: records.Add, OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) }}
		go h.Handle(t.Context(), server)
		send(t, client, "hello\n")
		receive(t, client, "hello\n")
		client.Close()
		if r := records.Next(t); r.Peer.String() != server.RemoteAddr().String() {
			t.Errorf("Peer in the record is %v, want %v", r.Peer, server.RemoteAddr())
		}
	})
	t.Run("plain", func(t *testing.T) {
		client, server := namedPair(t)
		from, to := namedPair(t)
		records := newRecords()
		h := handler.Func(func(_ context.Context, conn net.Conn) {
			io.Copy(to.TCPConn, conn)
			to.CloseWrite()
		})
		h.OnRecord = records.Add
		go h.Handle(t.Context(), server)
		send(t, client, "hello\n")
		receive(t, from, "hello\n")
		client.(*net.TCPConn).CloseWrite()
		receiveAll(t, from, "")
		if r := records.Next(t); r.BytesIn != 6 {
			t.Errorf("%d bytes in, want 6", r.BytesIn)
		}
	})
}
