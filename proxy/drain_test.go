package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
)

// A quiet pair gets its FIN both ways, one on which something moves goes on until
// nothing does.
func TestDrain(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		testutil.InTime(t, time.Second, func(quiet time.Duration) error { return drainsBusyPair(t, tr, quiet) })
	})
}

// drainsBusyPair returns ErrLate if this process did not run for so long that the busy pair was quiet.
func drainsBusyPair(t *testing.T, tr transport, quietTime time.Duration) error {
	longest := watchPauses(t)
	s := tr.serve(t, proxy.Config{DrainQuiet: quietTime, IdleTimeout: time.Hour})
	quiet, quietUp := s.pair()
	busy, busyUp := s.pair()
	stop, stopped := make(chan struct{}), make(chan int64, 1)
	go func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		var sent int64
		for {
			n, _ := io.WriteString(busyUp, "x")
			sent += int64(n)
			select {
			case <-ticker.C:
			case <-stop:
				stopped <- sent
				return
			}
		}
	}()
	err := tryReceive(busy, "xxx")
	done := make(chan error, 1)
	go func() { done <- s.shutdown(patience) }()
	receiveAll(t, quiet, "")
	receiveAll(t, quietUp, "")
	err = errors.Join(err, tryReceive(busy, strings.Repeat("x", 40))) // long after the quiet one
	close(stop)
	sent := <-stopped
	rest, endErr := io.Copy(io.Discard, busy)
	if got := 43 + rest; got != sent {
		err = errors.Join(err, fmt.Errorf("%d of %d bytes", got, sent))
	}
	err = errors.Join(err, endErr)
	busy.Close()
	busyUp.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err != nil && longest() > quietTime/4 {
		return testutil.ErrLate
	}
	for range 2 {
		if r := s.records.Next(t); r.Reason != handler.ReasonDrain || r.By != handler.ByServer {
			t.Errorf("by %s, %s; want the drain", r.By, r.Reason)
		}
	}
	if d := s.proxy.Drained(); d.Idle+d.Finished != 2 || d.Finished < 1 || d.Cut != 0 {
		t.Errorf("drained %+v", d)
	}
	return err
}

// A pair that has something to write when the drain begins is closed when that is
// written. If the proxy does not run for longer than DrainQuiet, nothing moves either.
func TestDrainOfASlowReader(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		testutil.InTime(t, time.Second, func(quiet time.Duration) error { return drainsSlowReader(t, tr, quiet) })
	})
}

// drainsSlowReader returns ErrLate if the process did not run for so long that the pair may have been
// taken for quiet.
func drainsSlowReader(t *testing.T, tr transport, quietTime time.Duration) error {
	longest := watchPauses(t)
	s := tr.serve(t, proxy.Config{DrainQuiet: quietTime, IdleTimeout: time.Hour})
	quiet, quietUp := s.pair()
	client, upstream := s.pair()
	n := fill(t, upstream)
	done := make(chan error, 1)
	go func() { done <- s.shutdown(patience) }()
	receiveAll(t, quiet, "") // so the drain has begun
	receiveAll(t, quietUp, "")
	got, err := io.Copy(io.Discard, client)
	if late := longest(); (got != n || err != nil) && late > quietTime/4 {
		client.Close()
		upstream.Close()
		<-done
		return testutil.ErrLate
	}
	if got != n || err != nil {
		t.Errorf("the client gets %d of %d bytes, then %v", got, n, err)
	}
	receiveAll(t, upstream, "")
	client.Close()
	upstream.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	return nil
}

// A reply that takes longer than DrainQuiet arrives all the same, with the default times.
func TestDrainDeliversALateReply(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{DrainReply: patience})
		quiet, quietUp := s.pair()
		client, upstream := s.pair()
		send(t, client, "request")
		receive(t, upstream, "request")
		done := make(chan error, 1)
		go func() { done <- s.shutdown(patience) }()
		receiveAll(t, quiet, "") // so DrainQuiet is over
		receiveAll(t, quietUp, "")
		quiet.Close()
		quietUp.Close()
		send(t, upstream, "reply")
		receiveAll(t, client, "reply")
		receiveAll(t, upstream, "")
		client.Close()
		upstream.Close()
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if d := s.proxy.Drained(); d.Finished < 1 || d.Cut != 0 {
			t.Errorf("drained %+v", d)
		}
	})
}

// What does not come to rest is reset when the time is up.
func TestDrainCuts(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{IdleTimeout: time.Hour})
		client, upstream := s.pair()
		flooded := make(chan error, 1)
		go func() {
			_, err := flood(upstream)
			flooded <- err
		}()
		receive(t, client, "\x00")
		err := s.shutdown(300 * time.Millisecond)
		if !errors.Is(err, tcp.ErrCut) {
			t.Errorf("Shutdown: %v, want that clients were cut", err)
		}
		_, err = io.Copy(io.Discard, client)
		if tr.upstream != "unix" && (ended(err) != "reset" || ended(<-flooded) != "reset") {
			t.Errorf("the client sees %v, want a reset", err)
		}
		if r := s.records.Next(t); r.Reason != handler.ReasonCut || r.By != handler.ByServer {
			t.Errorf("by %s, %s; want a cut", r.By, r.Reason)
		}
		if d := s.proxy.Drained(); d.Cut != 1 {
			t.Errorf("drained %+v", d)
		}
	})
}

// A client that still waits for an upstream does not hold up a drain for longer than
// its bound.
func TestDrainWhileConnecting(t *testing.T) {
	for _, tr := range []transport{transports[0], transports[3]} {
		t.Run(tr.name, func(t *testing.T) {
			full, name := fullListener(t)
			defer full()
			s := tr.serve(t, proxy.Config{Upstreams: []string{name}, ConnectTimeout: time.Minute})
			client := s.connect()
			eventually(t, "the client", func() bool { return s.proxy.Len() == 1 })
			began := time.Now()
			if err := s.shutdown(200 * time.Millisecond); !errors.Is(err, tcp.ErrCut) {
				t.Errorf("Shutdown: %v", err)
			}
			if took := time.Since(began); took > slack {
				t.Errorf("took %v", took)
			}
			receiveReset(t, client)
			if r := s.records.Next(t); r.Reason != handler.ReasonCut {
				t.Errorf("reason %s, want a cut", r.Reason)
			}
		})
	}
}

// A handler that is used without a server refuses after its end.
func TestHandleAfterClose(t *testing.T) {
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"127.0.0.1:1"}}}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	x.Handle(t.Context(), server)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v", err)
	}
}
