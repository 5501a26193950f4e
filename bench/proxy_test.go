//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// startRelayForTest starts a proxy in front of upstream.
func (b *bench) startRelayForTest(t *testing.T, s server, upstream net.Listener) *running {
	t.Helper()
	r, err := b.startProxy(t.Context(), s, upstream.Addr().(*net.TCPAddr).AddrPort(), []int{b.serverCore})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// The load counts the bytes of streams and does not check them. This test does, in both
// directions, and with an upstream that answers after the end of the stream.
func TestProxiesRelay(t *testing.T) {
	b := newBench(t)
	for _, s := range b.thatDo(relaying) {
		t.Run(s.name, func(t *testing.T) {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					go answerAtTheEnd(conn)
				}
			}()
			conn := dialOver(t, s, b.startRelayForTest(t, s, ln))
			text := randomLines(4 << 20)
			if err := writePieces(conn, text); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, len(text))
			}
		})
	}
}

func answerAtTheEnd(conn net.Conn) {
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err == nil {
		_, _ = conn.Write(text)
	}
}

func TestNginxWithoutStreamModuleIsSkipped(t *testing.T) {
	defer func(before []string) { nginxModules = before }(nginxModules)
	nginxModules = nil
	b := &bench{options: options{servers: servers}}
	skipped, err := b.prepareServers(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	switch reason := skipped[nginx]; {
	case strings.Contains(reason, "on the path"):
		t.Skip(reason)
	case reason != "" && !strings.Contains(reason, "configuration"):
		t.Errorf("nginx skipped: %q", reason)
	}
}

// The CPU time of a process that forks includes that of its children, while they run and
// after.
func TestFamilyCPU(t *testing.T) {
	b := newBench(t)
	s, err := findServer(socat)
	if err != nil {
		t.Fatal(err)
	}
	if b.programs[socat] == "" {
		t.Skip("no socat")
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := b.startRelayForTest(t, s, ln)
	pid := r.cmd.Process.Pid
	family := func() time.Duration {
		cpu, err := familyCPU(pid)
		if err != nil {
			t.Fatal(err)
		}
		return cpu
	}
	before := family()
	client := dialServer(t, r)
	io.WriteString(client, "hello")
	arrived := make(chan error, 2)
	for range 2 { // the other is the connection that waited for the start: either may come first
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != io.EOF {
				arrived <- err
			}
		}()
	}
	if err := <-arrived; err != nil {
		t.Fatal(err)
	}
	own, err := processCPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	if during := family(); during <= before || during <= own {
		t.Errorf("the family used %v, before its child %v, the parent alone %v", during, before, own)
	}
	if files, err := openFiles(os.Getpid()); err != nil || files < 3 {
		t.Errorf("%d open files, %v", files, err)
	}
}
