package proxy_test

import (
	"io"
	"math"
	"net"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
)

// A pair on which nothing moves is closed when the time is over, and sees a FIN both
// ways.
func TestIdleTimeout(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		const limit = time.Second
		s := tr.serve(t, proxy.Config{IdleTimeout: limit})
		best := time.Duration(math.MaxInt64)
		for range 10 { // a busy machine is late, but not each time
			began := time.Now() // before the last byte: this test may be late, too
			client, upstream := s.pair()
			receiveAll(t, client, "")
			receiveAll(t, upstream, "")
			took := time.Since(began)
			if took < limit*9/10 {
				t.Errorf("closed after %v, want %v", took, limit)
			}
			if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonIdleTimeout {
				t.Errorf("by %s, %s; want the server's idle timeout", r.By, r.Reason)
			}
			if best = min(best, took); best <= limit*11/10 {
				return
			}
		}
		t.Errorf("closed after %v at best, want %v", best, limit)
	})
}

// A byte in half the time keeps a pair, whichever way it goes, also if it is always
// the same way.
func TestIdleTimeoutCountsBothWays(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		const limit = 2 * testutil.RaceFactor * time.Second
		s := tr.serve(t, proxy.Config{IdleTimeout: limit})
		a, b := s.pair()
		ticker := time.NewTicker(limit / 2)
		defer ticker.Stop()
		for i := range 8 {
			if i == 4 {
				a, b = b, a
			}
			<-ticker.C
			send(t, a, "x")
			receive(t, b, "x")
		}
	})
}

// A side that takes what it is sent slowly is not silent, though for a long time no
// event tells of it.
func TestIdleTimeoutSparesSlowReaders(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		if tr.name != "tcp" && tr.name != "unix" {
			t.Skip("by goroutine, what moves is seen when a whole buffer has moved")
		}
		const limit = 2 * time.Second
		s := tr.serve(t, proxy.Config{IdleTimeout: limit})
		text := pattern(3 << 20) // before the pair: it takes a while
		client, upstream := s.pair()
		go io.WriteString(upstream, text)
		b := make([]byte, 128<<10) // more than the kernel keeps to itself
		ticker := time.NewTicker(limit / 5)
		defer ticker.Stop()
		for got := 0; got < len(text); {
			<-ticker.C
			n, err := io.ReadFull(client, b[:min(len(b), len(text)-got)])
			if got += n; err != nil {
				t.Fatalf("after %d of %d bytes: %v", got, len(text), err)
			}
		}
	})
}

// One that takes nothing is, and as bytes are lost it sees no FIN.
func TestIdleTimeoutOfAStalledReader(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{IdleTimeout: time.Second})
		_, upstream := s.pair()
		n, err := flood(upstream)
		if ended(err) != "reset" && tr.upstream != "unix" {
			t.Errorf("the writer sees %v after %d bytes, want a reset", err, n)
		}
		if r := s.records.Next(t); r.Reason != handler.ReasonIdleTimeout {
			t.Errorf("reason %s, want the idle timeout", r.Reason)
		}
	})
}

// flood writes until that fails.
func flood(conn net.Conn) (n int64, err error) {
	b := make([]byte, 64<<10)
	for {
		m, err := conn.Write(b)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// fill writes until the other side would have to read, and tells how much that was.
func fill(t *testing.T, conn net.Conn) int64 {
	t.Helper()
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := flood(conn)
	if ended(err) != "open" {
		t.Fatalf("the writer sees %v, want that it has to wait", err)
	}
	return n
}

// A slow reader slows the writer down: what is in between is bounded.
func TestBackPressure(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{})
		client, _ := s.pair()
		if n := fill(t, client); n > 32<<20 { // two connections' buffers
			t.Errorf("%d MiB are on their way", n>>20)
		}
	})
}

// After the end of one direction the other goes on for as long as it likes, or as it
// may.
func TestHalfCloseTimeout(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		const limit = 2 * time.Second
		s := tr.serve(t, proxy.Config{HalfCloseTimeout: limit})
		client, upstream := s.pair()
		began := time.Now()
		closeWrite(t, client)
		receiveAll(t, upstream, "")
		send(t, upstream, "late")
		receive(t, client, "late")
		s.expectHalfCloseTimeout(tr, client, began, limit)
	})
}

// A pair whose one direction has ended is idle sooner than others. While bytes move, it stays.
func TestHalfCloseIdle(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		const limit = 2 * time.Second
		s := tr.serve(t, proxy.Config{HalfCloseIdle: limit})
		open, _ := s.pair()
		client, upstream := s.pair()
		closeWrite(t, client)
		receiveAll(t, upstream, "")
		for range 4 {
			time.Sleep(limit / 2) // the test needs this delay
			send(t, upstream, "late")
			receive(t, client, "late")
		}
		began := time.Now()
		receiveAll(t, client, "")
		if took := time.Since(began); took < limit*9/10 || took > limit+slack {
			t.Errorf("ended after %v, want %v", took, limit)
		}
		if r := s.records.Next(t); r.Reason != handler.ReasonIdleTimeout || r.By != handler.ByServer {
			t.Errorf("by %s, %s; want the idle timeout", r.By, r.Reason)
		}
		send(t, open, "still here")
		s.records.None(t)
	})
}

// expectHalfCloseTimeout reads from the client, whose FIN was sent when it began, to the
// end by the timeout.
func (s *served) expectHalfCloseTimeout(tr transport, client net.Conn, began time.Time, limit time.Duration) {
	t := s.t
	t.Helper()
	_, err := io.Copy(io.Discard, client)
	if took := time.Since(began); took < limit*9/10 || took > limit+slack {
		t.Errorf("ended after %v, want %v", took, limit)
	}
	if tr.upstream != "unix" && ended(err) != "reset" {
		t.Errorf("the client sees %v, want a reset", err)
	}
	if r := s.records.Next(t); r.Reason != handler.ReasonHalfCloseTimeout || r.By != handler.ByServer {
		t.Errorf("by %s, %s; want the half-close timeout", r.By, r.Reason)
	}
}

// With reuse too, where the upstream is not told of the FIN.
func TestHalfCloseTimeoutWithReuse(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		const limit = time.Second
		s := tr.serve(t, proxy.Config{
			HalfCloseTimeout: limit,
			Pool:             proxy.PoolConfig{Size: 1, Reuse: true, ReuseQuiet: time.Minute},
		})
		upstream := s.accept()
		s.awaitPool(1)
		client := s.connect()
		send(t, client, "monitor")
		receive(t, upstream, "monitor")
		send(t, upstream, "on")
		receive(t, client, "on")
		began := time.Now()
		closeWrite(t, client)
		send(t, upstream, "late")
		receive(t, client, "late")
		s.expectHalfCloseTimeout(tr, client, began, limit)
	})
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{})
		client := s.connect()
		request := pattern(300_000)
		go func() {
			io.WriteString(client, request)
			closeWrite(t, client)
		}()
		upstream := s.accept()
		receiveAll(t, upstream, request)
		reply := pattern(3_000_000)
		go func() {
			io.WriteString(upstream, reply)
			upstream.Close()
		}()
		receiveAll(t, client, reply)
		r := s.records.Next(t)
		if r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.BytesIn != int64(len(request)) || r.BytesOut != int64(len(reply)) || r.Err != nil {
			t.Errorf("record %+v", r)
		}
	})
}
