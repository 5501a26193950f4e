package e2e

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// On one processor the event loop keeps that during its naps, and one busy client has it nap
// all the time (internal/eventloop/nap_linux.go). New clients, for which the runtime's poller
// waits, are accepted all the same.
func TestNewClientsBesideABusyOne(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1")
	p := start(t)
	connect := func() net.Conn {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	busy := connect()
	var rounds atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- pingPong(busy, &rounds) }()
	for rounds.Load() < 1000 { // by now it naps
		select {
		case err := <-ended:
			t.Fatalf("the busy client: %v", err)
		case <-time.After(time.Millisecond):
		}
	}

	begin, before := time.Now(), rounds.Load()
	for i := range 20 {
		conn := connect()
		conn.SetDeadline(begin.Add(patience)) // for all of them
		line := fmt.Sprintf("client %d\n", i)
		tcptest.Send(t, conn, line)
		tcptest.Receive(t, conn, line)
	}
	t.Logf("20 clients were served in %v, beside %d lines", time.Since(begin), rounds.Load()-before)
	testutil.Eventually(t, "the busy client", func() bool { return rounds.Load() > before })
	busy.Close()
	<-ended
}

// pingPong sends a line as soon as the last one has come back, and counts them, until the
// connection is closed.
func pingPong(conn net.Conn, rounds *atomic.Int64) error {
	line := []byte("ping\n")
	for got := make([]byte, len(line)); ; rounds.Add(1) {
		if _, err := conn.Write(line); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
	}
}
