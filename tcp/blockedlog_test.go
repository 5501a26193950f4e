package tcp_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/tcp"
)

// blockedLog is a log whose writer does not return before the test's end.
func blockedLog(t *testing.T) *slog.Logger {
	w := blockedWriter{make(chan struct{})}
	t.Cleanup(func() {
		close(w.end)
		testutil.Eventually(t, "the end of the writer", func() bool { return logger.Flush(patience) })
	})
	return slog.New(slog.NewTextHandler(w, nil))
}

// blockedWriter takes nothing until end is closed.
type blockedWriter struct{ end chan struct{} }

func (w blockedWriter) Write(p []byte) (int, error) {
	<-w.end
	return len(p), nil
}

// A log that nobody reads from stops nothing: not serving, limits, panics, the drain, or
// the end of Run, also if it is slog.Default().
func TestBlockedLog(t *testing.T) {
	testutil.Long(t)
	for _, name := range []string{"its own", "default"} {
		t.Run(name, func(t *testing.T) {
			log := blockedLog(t)
			if name == "default" {
				testutil.SetDefaultLog(t, log)
				log = nil
			}
			h := echoAfter(panicIfAsked)
			h.OnRecord = handler.LogRecords(log)
			s := &tcp.Server{Name: "blocked", Handler: h, Config: tcp.Config{
				Address: "127.0.0.1:0", MaxClients: 2, WhenFull: tcp.FullRefuse, DrainTimeout: patience, Log: log,
			}}
			stop, result := runGroup(t, &tcp.Group{Servers: []*tcp.Server{s}})
			stays, panics := dialServer(t, s), dialServer(t, s)
			exchange(t, stays, "a\n")
			exchange(t, panics, "a\n")
			addr := s.Addrs()[0].String()
			testutil.Eventually(t, "refusals", func() bool {
				call(addr, "")
				return s.Stats().RefusedFull > 10
			})
			send(t, panics, "panic\n")
			receiveAll(t, panics, "")
			testutil.Eventually(t, "many records", func() bool {
				return call(addr, "b\n") && s.Stats().Accepted > 100
			})
			began := time.Now()
			stop()
			receiveAll(t, stays, "")
			if err := result(); err != nil {
				t.Errorf("Run: %v", err)
			}
			if took := time.Since(began); took < time.Second || took > patience/2 {
				t.Errorf("the stop took %v, and the log had to have a second", took)
			}
		})
	}
}

// call connects, and reports whether text comes back; the server may refuse it.
func call(addr, text string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, text)
	if text == "" {
		text = "\n" // for the reset
	}
	_, err = io.ReadFull(conn, make([]byte, len(text)))
	return err == nil
}

// What was logged is written when Shutdown returns, however slow the log is.
func TestShutdownFlushes(t *testing.T) {
	var log journal
	slow := slog.New(slowHandler{&log})
	h := echo()
	h.OnRecord = handler.LogRecords(slow)
	s := start(t, tcp.Config{Log: slow}, h)
	for range 10 {
		conn := dial(t, "tcp", s.Addr)
		exchange(t, conn, "a\n")
		conn.Close()
	}
	s.TCP.Shutdown(t.Context())
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := len(log.records); n != 10 {
		t.Errorf("%d records, want 10", n)
	}
}

// slowHandler takes its time for each record.
type slowHandler struct{ *journal }

func (h slowHandler) Handle(ctx context.Context, r slog.Record) error {
	time.Sleep(20 * time.Millisecond)
	return h.journal.Handle(ctx, r)
}
