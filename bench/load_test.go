//go:build linux

package main

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// serveWrongly answers every connection with reply of the input.
func serveWrongly(t *testing.T, reply func(conn net.Conn, got []byte)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			reply(conn, buf[:n])
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestLoadRejectsBadServers(t *testing.T) {
	// A polling load and its server share this process here, so the test is short.
	for _, test := range []struct {
		name  string
		reply func(conn net.Conn, got []byte)
		want  string
	}{
		{"alters a byte", func(conn net.Conn, got []byte) { got[3]++; conn.Write(got) }, "wrong echo"},
		{"repeats", func(conn net.Conn, got []byte) { conn.Write(append(got, got...)) }, "wrong echo"},
		{"is silent", func(net.Conn, []byte) {}, "no reply for"},
		{"closes", func(conn net.Conn, _ []byte) { conn.Close() }, "closed a connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := measure(task{
				Address: serveWrongly(t, test.reply),
				Server:  os.Getpid(),
				Conns:   1,
				Depth:   2,
				Measure: time.Second,
				Stall:   200 * time.Millisecond,
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestStalledFailsIfTheServerDoesNotSleep(t *testing.T) {
	b := newBench(t)
	s, err := findServer(naive)
	if err != nil {
		t.Fatal(err)
	}
	b.sleep = time.Minute
	task := b.task(load{work: echoing, conns: 1, depth: 1, stalls: true}, b.startForTest(t, s, echoing))
	if err := b.runTask(t.Context(), cmdLoad, task, []int{b.loadCore}, nil, &measurement{}); err == nil {
		t.Error("no error although the line was answered at once")
	}
}
