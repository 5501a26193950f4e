package proxy_test

import (
	"errors"
	"io"
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
		testutil.InTime(t, time.Second, func(limit time.Duration) error {
			s := tr.serve(t, proxy.Config{IdleTimeout: limit})
			for range 5 { // a busy machine is late, but not each time
				began := time.Now() // before the last byte: this test may be late, too
				client, upstream, err := s.tryPair()
				if time.Since(began) >= limit {
					return testutil.ErrLate
				}
				if err != nil {
					t.Fatal(err)
				}
				receiveAll(t, client, "")
				receiveAll(t, upstream, "")
				took := time.Since(began)
				if took < limit*9/10 {
					t.Errorf("closed after %v, want %v", took, limit)
				}
				if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonIdleTimeout {
					t.Errorf("by %s, %s; want the server's idle timeout", r.By, r.Reason)
				}
				if took <= limit*11/10 {
					return nil
				}
				t.Logf("closed after %v, want %v", took, limit)
			}
			t.Error("closed late each time")
			return nil
		})
	})
}

// A byte in half the time keeps a pair, whichever way it goes, also if it is always
// the same way.
func TestIdleTimeoutCountsBothWays(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		testutil.InTime(t, 2*testutil.RaceFactor*time.Second, func(limit time.Duration) error {
			s := tr.serve(t, proxy.Config{IdleTimeout: limit})
			last := time.Now()
			a, b, err := s.tryPair()
			ticker := time.NewTicker(limit / 2)
			defer ticker.Stop()
			for i := range 8 {
				if i == 4 {
					a, b = b, a
				}
				if err == nil {
					<-ticker.C
					err = tryRelay(a, b, "x")
				}
				if time.Since(last) >= limit {
					return testutil.ErrLate
				}
				if err != nil {
					t.Fatal(err)
				}
				last = time.Now()
			}
			return nil
		})
	})
}

// A side that takes what it is sent slowly is not silent, though for a long time no
// event tells of it.
func TestIdleTimeoutSparesSlowReaders(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		if tr.name != "tcp" && tr.name != "unix" {
			t.Skip("by goroutine, what moves is seen when a whole buffer has moved")
		}
		text := pattern(3 << 20)   // before the pair: it takes a while
		b := make([]byte, 128<<10) // more than the kernel keeps to itself
		testutil.InTime(t, 2*time.Second, func(limit time.Duration) error {
			s := tr.serve(t, proxy.Config{IdleTimeout: limit})
			last := time.Now()
			client, upstream, err := s.tryPair()
			ticker := time.NewTicker(limit / 5)
			defer ticker.Stop()
			if err == nil {
				go io.WriteString(upstream, text)
			}
			for got := 0; got < len(text); {
				if err == nil {
					<-ticker.C
					client.SetDeadline(time.Now().Add(patience))
					var n int
					n, err = io.ReadFull(client, b[:min(len(b), len(text)-got)])
					got += n
				}
				if err != nil && time.Since(last) >= limit/2 { // two pieces show progress
					return testutil.ErrLate
				}
				if err != nil {
					t.Fatalf("after %d of %d bytes: %v", got, len(text), err)
				}
				last = time.Now()
			}
			return nil
		})
	})
}

// One that takes nothing is, and as bytes are lost it sees no FIN.
func TestIdleTimeoutOfAStalledReader(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		testutil.InTime(t, time.Second, func(limit time.Duration) error {
			s := tr.serve(t, proxy.Config{IdleTimeout: limit})
			begin := time.Now()
			_, upstream, err := s.tryPair()
			if time.Since(begin) >= limit {
				return testutil.ErrLate
			}
			if err != nil {
				t.Fatal(err)
			}
			n, err := flood(upstream)
			if ended(err) != "reset" && tr.upstream != "unix" {
				t.Errorf("the writer sees %v after %d bytes, want a reset", err, n)
			}
			if r := s.records.Next(t); r.Reason != handler.ReasonIdleTimeout {
				t.Errorf("reason %s, want the idle timeout", r.Reason)
			}
			return nil
		})
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
		testutil.InTime(t, 2*time.Second, func(limit time.Duration) error {
			s := tr.serve(t, proxy.Config{HalfCloseTimeout: limit})
			client, upstream := s.pair()
			began := time.Now()
			closeWrite(t, client)
			n, err := io.Copy(io.Discard, upstream)
			err = errors.Join(err, tryRelay(upstream, client, "late"))
			if time.Since(began) >= limit {
				return testutil.ErrLate
			}
			if n > 0 {
				t.Errorf("%d bytes before the FIN", n)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.expectHalfCloseTimeout(tr, client, began, limit)
			return nil
		})
	})
}

// A pair whose one direction has ended is idle sooner than others. While bytes move, it stays.
func TestHalfCloseIdle(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		testutil.InTime(t, 2*time.Second, func(limit time.Duration) error {
			s := tr.serve(t, proxy.Config{HalfCloseIdle: limit})
			open, _ := s.pair()
			client, upstream := s.pair()
			last := time.Now()
			closeWrite(t, client)
			receiveAll(t, upstream, "")
			var began time.Time
			for range 4 {
				time.Sleep(limit / 2) // the test needs this delay
				began = time.Now()
				err := tryRelay(upstream, client, "late")
				if time.Since(last) >= limit {
					return testutil.ErrLate
				}
				if err != nil {
					t.Fatal(err)
				}
				last = time.Now()
			}
			receiveAll(t, client, "")
			if took := time.Since(began); took < limit*9/10 || took > limit+slack {
				t.Errorf("ended after %v, want %v", took, limit)
			}
			if r := s.records.Next(t); r.Reason != handler.ReasonIdleTimeout || r.By != handler.ByServer {
				t.Errorf("by %s, %s; want the idle timeout", r.By, r.Reason)
			}
			send(t, open, "still here")
			s.records.None(t)
			return nil
		})
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
		testutil.InTime(t, time.Second, func(limit time.Duration) error {
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
			err := tryRelay(upstream, client, "late")
			if time.Since(began) >= limit {
				return testutil.ErrLate
			}
			if err != nil {
				t.Fatal(err)
			}
			s.expectHalfCloseTimeout(tr, client, began, limit)
			return nil
		})
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
