package tcp_test

import (
	"io"
	"net"
	"strconv"
	"testing"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// While much more than the limit is held, clients are refused, and that is counted and logged.
func TestRefusedForMemory(t *testing.T) {
	var log journal
	memory := &handler.Memory{Limit: 80}
	srv := &tcp.Server{Config: tcp.Config{Log: log.logger()}, Memory: memory, Handler: echo()}
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	result := serve(t.Context(), t, srv, ln)
	addr := ln.Addr().String()
	exchange(t, dial(t, "tcp", addr), "a\n")

	other := &handler.Held{Evict: func(error) {}} // of another server, and does not end
	memory.Hold(other, 100)
	const n = 5
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			continue // reset already
		}
		io.WriteString(conn, "hello\n")
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("a client was served: %q", got)
		}
		conn.Close()
	}
	if s := srv.Stats(); s.RefusedMemory != n || s.Accepted != 1 || s.Buffered != 100 {
		t.Errorf("stats %+v", s)
	}
	memory.Hold(other, 0)
	exchange(t, dial(t, "tcp", addr), "b\n")
	if s := srv.Stats(); s.RefusedMemory != n || s.Accepted != 2 || s.Buffered != 0 {
		t.Errorf("stats %+v", s)
	}
	shutdown(t, srv)
	result()
	sum := 0
	for _, line := range log.find("refused") {
		if line["cause"] != "memory" || line["max_buffered"] != "80" {
			t.Errorf("logged %v", line)
		}
		if line["level"] == "INFO" {
			count, _ := strconv.Atoi(line["count"])
			sum += count
		}
	}
	if sum != n {
		t.Errorf("%d refused in the log, want %d", sum, n)
	}
}
