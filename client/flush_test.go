package client

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"
)

// A connection that ends after the last frame of the queue was written leaves nothing under way: Close
// has nothing to wait for.
func TestLostAfterFlush(t *testing.T) {
	d := &Dialer{Log: slog.New(slog.DiscardHandler), Backoff: Backoff{First: time.Hour, Max: time.Hour}}
	d.once.Do(d.init)
	c := &Conn{dialer: d}
	if _, ok := c.begin(); !ok {
		t.Fatal("it is closed")
	}
	if err := c.Send(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	l := &link{conn: c}
	c.link = l
	if err := c.connected(l); err != nil {
		t.Fatal(err)
	}
	if c.nextQueued(l) == nil {
		t.Fatal("the queue is empty")
	}
	c.lost(l, io.EOF) // after the write
	if c.nextQueued(l) != nil {
		t.Error("the flush goes on")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	if err := c.Shutdown(ctx); err != nil || time.Since(begin) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	d.Close()
}
