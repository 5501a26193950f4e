package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/tcptest"
)

// A collector whose name cannot be looked up is tried again, less and less often. The log says so once.
func TestCollectorIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		far, near := tcptest.Pipe()
		defer far.Close()
		var tries []time.Duration
		began := time.Now()
		c := newCollectors(slog.New(slog.NewTextHandler(log, nil)))
		c.dial = func(context.Context, string, string) (net.Conn, error) {
			tries = append(tries, time.Since(began))
			if len(tries) < 10 {
				return nil, errors.New("no such host")
			}
			return near, nil
		}
		defer c.close()
		where := c.get("collector.example:9")
		where.send("lost\n")
		time.Sleep(time.Hour)
		synctest.Wait()
		where.send("a reading\n")
		tcptest.Receive(t, far, "a reading\n")
		var got []time.Duration
		for i := 1; i < len(tries); i++ {
			got = append(got, (tries[i]-tries[i-1])/time.Second)
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
		if !slices.Equal(got, want) {
			t.Errorf("tried again after %v, want %v seconds", got, want)
		}
		if text := log.text.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "level=INFO") != 1 {
			t.Errorf("the log has\n%s", text)
		}
		if c.get("collector.example:9") != where {
			t.Error("a second connection to the same collector")
		}
		if none := c.get(""); none != nil {
			t.Error("a collector without an address")
		}
	})
}

// The end of the program ends the tries.
func TestCollectorsClose(t *testing.T) {
	c := newCollectors(slog.New(slog.DiscardHandler))
	c.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no such host") }
	c.get("a.example:9").send("lost\n")
	c.get("b.example:9")
	c.close() // goleak looks whether something is left
}
