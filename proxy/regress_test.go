package proxy_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/proxy"
)

// Bugs that were found by other means than the tests beside this one.

// Both sides are reset while both have something to take: then neither is read to its
// end.
func TestBothReset(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{})
		const pairs = 10
		var wg sync.WaitGroup
		for range pairs {
			client, upstream := s.pair()
			for _, conn := range []net.Conn{client, upstream} {
				wg.Go(func() {
					conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
					flood(conn)
				})
			}
			wg.Go(func() {
				wg := sync.WaitGroup{}
				wg.Go(func() { netconn.Reset(client) })
				wg.Go(func() { netconn.Reset(upstream) })
				wg.Wait()
			})
		}
		wg.Wait()
		for range pairs {
			s.records.Next(t)
		}
	})
}

// A RST that follows a FIN arrives too: the other side may be about to answer. It is recorded as
// such if the client has had no answer.
func TestFINThenRST(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		if tr.upstream == "unix" || strings.HasPrefix(tr.name, "memory") || runtime.GOOS == "windows" {
			t.Skip("there is none, or nothing tells of it")
		}
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		send(t, client, "question")
		closeWrite(t, client)
		receiveAll(t, upstream, "question")
		netconn.Reset(client)
		if r := s.records.Next(t); r.Reason != handler.ReasonReset || r.By != handler.ByClient {
			t.Errorf("by %s, %s; want the client's reset", r.By, r.Reason)
		}
		_, err := io.WriteString(upstream, "x")
		for err == nil {
			_, err = io.WriteString(upstream, "x")
		}
		if !isReset(err) {
			t.Errorf("the upstream sees %v", err)
		}
	})
}

// An upstream that closes each connection at once does not make the pool dial as fast
// as it can.
func TestPoolOfAnUpstreamThatCloses(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	ln, name := newUpstream(t, "tcp")
	accepted := make(chan struct{}, 1<<20)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			conn.Close()
		}
	}()
	transports[0].serve(t, proxy.Config{Upstreams: []string{name}, Pool: proxy.PoolConfig{Size: 64}})
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	n := 0
	for over := false; !over; {
		select {
		case <-accepted:
			n++
		case <-timer.C:
			over = true
		}
	}
	if n == 0 || n > 400 {
		t.Errorf("%d connects in two seconds, for a pool of 64", n)
	}
}

// A pool whose connections rest for long is filled up and looked after all the same.
func TestPoolWithALongRest(t *testing.T) {
	t.Parallel()
	s := transports[0].serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 2, Reuse: true, ReuseQuiet: time.Hour}})
	waiting := []net.Conn{s.accept(), s.accept()}
	s.awaitPool(2)
	s.connect()
	eventually(t, "the pool", func() bool { return s.pool().Hits == 1 })
	for _, conn := range waiting { // one is the client's
		conn.Close()
	}
	eventually(t, "the pool", func() bool { p := s.pool(); return p.Dead == 1 && p.Idle == 2 })
}

// With reuse, clients find a connection at least as often as without.
func TestReuseHits(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	s := transports[0].serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 16, Reuse: true}})
	newLineServer(s.upstream)
	s.awaitPool(16)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for range 50 {
				<-ticker.C
				conn, err := s.dial()
				if err != nil {
					t.Error(err)
					return
				}
				conn.SetDeadline(time.Now().Add(patience))
				io.WriteString(conn, "x\n")
				bufio.NewReader(conn).ReadString('\n')
				conn.Close()
			}
		})
	}
	wg.Wait()
	if p := s.pool(); p.Hits < 2*p.Misses || p.Reused < 50 {
		t.Errorf("%+v: want that most clients find one, and that most come back", p)
	}
}

// A client that has half-closed gets the rest of its reply, whatever becomes of the
// connection.
func TestReuseDeliversTheRest(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		quiet := 20 * time.Millisecond
		if tr.upstream == "tls" { // whose writes are several
			quiet = 200 * time.Millisecond
		}
		testutil.InTime(t, quiet, func(quiet time.Duration) error { return deliversTheRest(t, tr, quiet) })
	})
}

// deliversTheRest returns ErrLate if the process, and the upstream in it, did not run for so long that
// the upstream was silent for the time quiet.
func deliversTheRest(t *testing.T, tr transport, quiet time.Duration) error {
	longest := watchPauses(t)
	s := tr.serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 1, Reuse: true, ReuseQuiet: quiet}})
	go func() {
		for {
			conn, err := s.upstream.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for b := make([]byte, 3); ; {
					if _, err := io.ReadFull(conn, b); err != nil {
						return
					}
					conn.Write(make([]byte, 101_000)) // one write, which the kernel takes as a whole, or soon
				}
			}()
		}
	}()
	rounds := 30
	if testutil.Reduced() {
		rounds = 10
	}
	for range rounds {
		client := s.connect()
		send(t, client, "req")
		receive(t, client, string(make([]byte, 1000)))
		closeWrite(t, client)
		rest, err := io.ReadAll(client)
		client.Close()
		if complete := err == nil && string(rest) == string(make([]byte, 100_000)); complete {
			continue
		}
		if late := longest(); late < quiet/4 {
			t.Errorf("read %d bytes of the rest, %v; the longest pause was %v", len(rest), err, late)
			return nil
		}
		return testutil.ErrLate
	}
	return nil
}

// A proxy without a server, that nobody has started, keeps nothing after its end.
func TestReuseWithoutAServer(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{name}, Pool: proxy.PoolConfig{Size: 2, Reuse: true}}}
	server, client := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Handle(t.Context(), server)
	}()
	go newLineServer(ln)
	send(t, client, "x\n")
	receive(t, client, "x\n")
	client.Close()
	<-done
	eventually(t, "the pool", func() bool { return x.Upstreams()[0].Pool.Idle == 2 })
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if n := x.Upstreams()[0].Pool.Idle; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// Who takes the last of what the kernel held just before the second look is not
// silent.
func TestIdleTimeoutAfterSlowReading(t *testing.T) {
	testutil.Long(t)
	if runtime.GOOS != "linux" {
		t.Skip("what the kernel holds cannot be told")
	}
	t.Parallel()
	const limit = 4 * time.Second // the second look comes a sixteenth of it after the first
	s := transports[0].serve(t, proxy.Config{IdleTimeout: limit})
	text := pattern(200 << 10)
	for try := 1; ; try++ {
		client, upstream := s.pair()
		client.(*net.TCPConn).SetReadBuffer(32 << 10)
		go io.WriteString(upstream, text)
		before := time.Now() // the first look
		seen := testutil.Soon(patience, func() bool {
			now := time.Now()
			if proxy.LookedOnce(s.proxy) {
				return true
			}
			before = now
			return s.proxy.Len() == 0
		})
		_, err := io.ReadFull(client, make([]byte, len(text)))
		last := time.Now()
		if last.Sub(before) > limit/16 && try < 10 { // a busy machine may have read after the second look
			client.Close()
			upstream.Close()
			eventually(t, "the end of the pair", func() bool { return s.proxy.Len() == 0 })
			continue
		}
		if err != nil || !seen {
			t.Fatalf("looked: %v, error %v", seen, err)
		}
		receiveAll(t, client, "")
		if took := time.Since(last); took < limit/2 {
			t.Errorf("closed %v after the last byte, want %v", took, limit)
		}
		return
	}
}

// An upstream that is named twice gets twice as many clients, by every rule.
func TestNamedTwice(t *testing.T) {
	a, b := deadPort(t), deadPort(t)
	for _, balance := range []proxy.Balance{proxy.BalanceRoundRobin, proxy.BalanceSourceHash} {
		count := proxy.FirstChoices(proxy.Config{Upstreams: []string{a, b, a}, Balance: balance}, 3000)
		for _, n := range count {
			if n < 800 || n > 1200 {
				t.Errorf("%s: %v of 3000 clients, want as many for each mention", balance, count)
				break
			}
		}
	}
}

// A RST is noticed also while the other side takes nothing, and so nothing is read. That
// side is told; it sees what the proxy had for it only if it reads.
func TestResetOfAFlooder(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		if !tr.tellsReset() {
			t.Skip("there is none, or nothing tells of it")
		}
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		fill(t, client)
		netconn.Reset(client)
		if r := s.records.Next(t); r.Reason != handler.ReasonReset || r.By != handler.ByClient {
			t.Errorf("by %s, %s; want the client's reset", r.By, r.Reason)
		}
		if err := writeUntilBroken(upstream); !isReset(err) {
			t.Errorf("the upstream sees %v, want a reset", err)
		}
	})
}

// The other way, while both take nothing.
func TestResetOfAFloodingUpstream(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		if tr.upstream == "unix" || runtime.GOOS == "windows" {
			t.Skip("there is none, or nothing tells of it")
		}
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		fill(t, client)
		fill(t, upstream)
		netconn.Reset(upstream)
		if r := s.records.Next(t); r.Reason != handler.ReasonReset || r.By != handler.ByUpstream {
			t.Errorf("by %s, %s; want the upstream's reset", r.By, r.Reason)
		}
		client.SetDeadline(time.Now().Add(patience))
		if err := writeUntilBroken(client); !isReset(err) {
			t.Errorf("the client sees %v, want a reset", err)
		}
	})
}

// A client that has sent much and a FIN is not a dead one, however slow its reader is.
func TestFINOfAFlooder(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		if strings.HasPrefix(tr.name, "TLS") {
			t.Skip("a Write whose time is over is its last")
		}
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		n := fill(t, client)
		client.SetDeadline(time.Now().Add(patience))
		closeWrite(t, client)
		time.Sleep(3 * time.Second) // more than a dead one has
		if got, err := io.Copy(io.Discard, upstream); got != n || err != nil {
			t.Errorf("the upstream gets %d of %d bytes, then %v", got, n, err)
		}
	})
}

// A reader that goes on reading gets all that the proxy had before the RST.
func TestResetAfterSlowReading(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		if !tr.tellsReset() {
			t.Skip("there is none, or nothing tells of it")
		}
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		n := fill(t, client)
		netconn.Reset(client)
		upstream.SetReadDeadline(time.Now().Add(patience))
		const step = 50 * time.Millisecond
		var got int64
		var slowest time.Duration
		for last := time.Now(); ; {
			m, err := io.CopyN(io.Discard, upstream, n/64)
			got += m
			slowest, last = max(slowest, time.Since(last)), time.Now()
			if err != nil {
				break
			}
			time.Sleep(step)
		}
		if slowest > 10*step {
			t.Skipf("the machine was busy for %v", slowest)
		}
		if r := s.records.Next(t); got != r.BytesIn-1 { // the first was read before
			t.Errorf("the upstream gets %d of %d bytes", got, r.BytesIn-1)
		}
	})
}

// tellsReset reports whether a client's reset is one, and can be seen without a read.
func (tr transport) tellsReset() bool {
	return runtime.GOOS != "windows" && tr.name != "unix" && tr.name != "unix by goroutine"
}

// writeUntilBroken writes a byte now and then until that fails.
func writeUntilBroken(conn net.Conn) (err error) {
	if c, ok := conn.(*tls.Conn); ok { // which remembers that a Write's time was over
		conn = c.NetConn()
	}
	for err == nil {
		time.Sleep(time.Millisecond)
		_, err = io.WriteString(conn, "x")
	}
	return err
}
