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

// named is a connection with addresses of its own, as those have that a balancer named.
// Nobody has to go through it for the bytes.
type named struct {
	*net.TCPConn
	t *testing.T
}

func (n named) Socket() net.Conn     { return n.TCPConn }
func (n named) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711} }

func (n named) Read(p []byte) (int, error) {
	n.t.Error("Read of the connection outside")
	return n.TCPConn.Read(p)
}

func (n named) Write(p []byte) (int, error) {
	n.t.Error("Write of the connection outside")
	return n.TCPConn.Write(p)
}

// namedPair is a connection over the loopback interface, whose server's end is named.
func namedPair(t *testing.T) (client net.Conn, server named) {
	t.Helper()
	client, conn := testutil.Pair(t)
	client.SetDeadline(time.Now().Add(patience))
	return client, named{conn.(*net.TCPConn), t}
}

// The socket of such a connection is read and written by itself; the client's address is
// the other one.
func TestNamedConnection(t *testing.T) {
	t.Run("frames", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("this system's sockets are read by package net only")
		}
		client, server := namedPair(t)
		records := newRecords()
		h := &handler.Frames{OnRecord: records.Add, OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) }}
		go h.Handle(t.Context(), server)
		send(t, client, "hello\n")
		receive(t, client, "hello\n")
		client.Close()
		if r := records.Next(t); r.Peer.String() != server.RemoteAddr().String() {
			t.Errorf("the record has %v, want %v", r.Peer, server.RemoteAddr())
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
