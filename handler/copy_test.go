package handler_test

import (
	"context"
	"io"
	"net"
	"testing"

	"wireline/handler"
)

// The error of a copy between two sockets by package net does not tell which of them
// has failed. The record does.
func TestResetWhileCopying(t *testing.T) {
	t.Parallel()
	for name, relay := range map[string]func(conn, up net.Conn){
		"from the client": func(conn, up net.Conn) { io.Copy(up, conn) },
		"to the client":   func(conn, up net.Conn) { io.Copy(conn, up) },
		"to the client, by ReadFrom": func(conn, up net.Conn) {
			conn.(*handler.Conn).ReadFrom(up)
		},
	} {
		for _, who := range []string{"client", "upstream"} {
			t.Run(name+"/"+who, func(t *testing.T) {
				client, server := namedPair(t)
				upstream, up := namedPair(t)
				records := newRecords()
				h := handler.Func(func(_ context.Context, conn net.Conn) {
					conn.Write([]byte("hello\n"))
					up.TCPConn.Write([]byte("hello\n"))
					relay(conn, up.TCPConn)
					up.Close()
				})
				h.OnRecord = records.Add
				go h.Handle(t.Context(), server.TCPConn)
				receive(t, client, "hello\n")
				receive(t, upstream, "hello\n")
				one, other := client, upstream
				if who == "upstream" {
					one, other = upstream, client
				}
				one.(*net.TCPConn).SetLinger(0)
				one.Close()
				for { // so that the other direction notices the reset too
					if _, err := other.Write([]byte("more\n")); err != nil {
						break
					}
				}
				r := records.Next(t)
				if byClient := r.By == handler.ByClient && r.Reason == handler.ReasonReset; byClient != (who == "client") {
					t.Errorf("ended by %s: %s, %v", r.By, r.Reason, r.Err)
				}
			})
		}
	}
}
