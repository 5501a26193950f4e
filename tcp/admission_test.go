package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/tcp"
	"wireline/tcptest"
)

// In memory, in a bubble: what has not happened after synctest.Wait does not
// happen.

// welcomed reports whether the server has let the client in.
func welcomed(t *testing.T, conn net.Conn) bool {
	synctest.Wait()
	// To look takes a moment of the bubble's time.
	conn.SetReadDeadline(time.Now().Add(time.Nanosecond))
	defer conn.SetReadDeadline(time.Time{})
	got := make([]byte, len("welcome\n"))
	switch n, err := io.ReadFull(conn, got); {
	case err == nil:
		return true
	case n > 0:
		t.Fatalf("read %q, %v", got[:n], err)
	}
	return false
}

func TestMaxClientsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{MaxClients: 2}}
		result := serve(t.Context(), t, srv, ln)
		var conns []net.Conn
		for range 5 {
			conns = append(conns, join(t, ln))
		}
		for i, conn := range conns {
			if got, want := welcomed(t, conn), i < 2; got != want {
				t.Fatalf("client %d of 2: served %t", i+1, got)
			}
		}
		for i := range 3 { // in turn, as the first ones leave
			conns[i].Close()
			if !welcomed(t, conns[i+2]) {
				t.Errorf("client %d is not served, though %d have left", i+3, i+1)
			}
			if i < 2 && welcomed(t, conns[i+3]) {
				t.Errorf("client %d is served before its turn", i+4)
			}
		}
		if s := srv.Stats(); s.Accepted != 5 || s.Active != 2 || s.RefusedFull != 0 {
			t.Errorf("stats %+v", s)
		}
		shutdown(t, srv)
		result()
	})
}

func TestMaxClientsRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{MaxClients: 2, WhenFull: tcp.FullRefuse}}
		result := serve(t.Context(), t, srv, ln)
		one, two := join(t, ln), join(t, ln)
		receive(t, one, "welcome\n")
		receive(t, two, "welcome\n")
		for range 3 {
			receiveReset(t, join(t, ln))
		}
		one.Close()
		synctest.Wait()
		receive(t, join(t, ln), "welcome\n")
		receiveReset(t, join(t, ln))
		if s := srv.Stats(); s.Accepted != 3 || s.Active != 2 || s.RefusedFull != 4 {
			t.Errorf("stats %+v", s)
		}
		shutdown(t, srv)
		result()
	})
}

// A listener without clients takes no place from the others.
func TestMaxClientsOverTwoListeners(t *testing.T) {
	for _, whenFull := range []tcp.WhenFull{tcp.FullWait, tcp.FullRefuse} {
		t.Run(string(whenFull), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, two := tcptest.Listen(), tcptest.Listen()
				srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{MaxClients: 2, WhenFull: whenFull}}
				served := []func() error{serve(t.Context(), t, srv, one), serve(t.Context(), t, srv, two)}
				synctest.Wait()
				first, second := join(t, one), join(t, one)
				if !welcomed(t, first) || !welcomed(t, second) {
					t.Error("of two clients of one listener not both are served, the limit is 2")
				}
				third := join(t, two)
				if welcomed(t, third) {
					t.Error("a third client is served on the other listener, the limit is 2")
				}
				third.Close()
				first.Close()
				second.Close()
				synctest.Wait()
				first, second = join(t, two), join(t, two)
				if !welcomed(t, first) || !welcomed(t, second) {
					t.Error("of two clients of the other listener not both are served, the limit is 2")
				}
				first.Close()
				synctest.Wait()
				if !welcomed(t, join(t, one)) {
					t.Error("the place that came free on one listener is not to be had on the other")
				}
				shutdown(t, srv)
				for _, result := range served {
					result()
				}
			})
		})
	}
}

// Over real sockets, from two listeners, with more clients than places: never
// too many at the same time, and everybody in the end.
func TestMaxClientsUnderLoad(t *testing.T) {
	const limit, clients, rounds = 3, 20, 10
	var now, most atomic.Int32
	h := echo()
	h.OnOpen = func(*handler.Client) error {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				return nil
			}
		}
	}
	h.OnClose = func(*handler.Client) { now.Add(-1) }
	srv := &tcp.Server{Handler: h, Config: tcp.Config{MaxClients: limit}}
	var served []func() error
	var addrs []string
	for range 2 {
		ln := listenTCP(t)
		served = append(served, serve(context.Background(), t, srv, ln))
		addrs = append(addrs, ln.Addr().String())
	}
	var g sync.WaitGroup
	for i := range clients {
		g.Go(func() {
			for r := range rounds {
				if err := visit(addrs[(i+r)%2]); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	g.Wait()
	if m := most.Load(); m > limit {
		t.Errorf("%d clients served at the same time, the limit is %d", m, limit)
	}
	if n := srv.Stats().Accepted; n != clients*rounds {
		t.Errorf("%d clients served, want %d", n, clients*rounds)
	}
	shutdown(t, srv)
	for _, result := range served {
		result()
	}
}

// visit is one client's visit from its connect to the server's FIN.
func visit(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "a\n"); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && string(got) != "a\n" {
		err = fmt.Errorf("read %q", got)
	}
	return err
}

func TestMaxClientsPerIP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{MaxClientsPerIP: 2, MaxClients: 4}}
		result := serve(t.Context(), t, srv, ln)
		from := func(ip string) net.Conn {
			t.Helper()
			conn, err := ln.DialFrom(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		a := from("192.0.2.1")
		receive(t, a, "welcome\n")
		receive(t, from("::ffff:192.0.2.1"), "welcome\n") // the same address
		receiveReset(t, from("192.0.2.1"))
		receive(t, from("192.0.2.9"), "welcome\n")
		receive(t, from("2001:db8::1"), "welcome\n")
		a.Close()
		synctest.Wait()
		receive(t, from("192.0.2.1"), "welcome\n")
		if s := srv.Stats(); s.Accepted != 5 || s.Active != 4 || s.RefusedPerIP != 1 || s.RefusedFull != 0 {
			t.Errorf("stats %+v", s)
		}
		shutdown(t, srv)
		result()
	})
}

// The same over sockets: all of 127.0.0.0/8 is this machine, on Linux.
func TestMaxClientsPerIPOverSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only 127.0.0.1 is on the loopback interface here")
	}
	s := start(t, tcp.Config{MaxClientsPerIP: 1}, greeting())
	connect := func(ip string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: patience}
		return d.Dial("tcp", s.Addr)
	}
	from := func(ip string) net.Conn {
		t.Helper()
		conn, err := connect(ip)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	refused := func(ip string) { // the reset may come before connect looks
		t.Helper()
		conn, err := connect(ip)
		if err == nil {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			_, err = conn.Read(make([]byte, 1))
		}
		if !isReset(err) {
			t.Errorf("from %s: %v, want a reset", ip, err)
		}
	}
	first := from("127.0.0.1")
	receive(t, first, "welcome\n")
	receive(t, from("127.0.0.2"), "welcome\n")
	refused("127.0.0.1")
	refused("127.0.0.2")
	reset(t, first)
	eventually(t, "the first client's end", func() bool { return s.TCP.Stats().Active == 1 })
	receive(t, from("127.0.0.1"), "welcome\n")
	if st := s.TCP.Stats(); st.RefusedPerIP != 2 || st.Accepted != 3 {
		t.Errorf("stats %+v", st)
	}
}

// However a connection ends, its places are free for the next one.
func TestLimitsAreReleased(t *testing.T) {
	leaveQuietly := func(*testing.T, net.Conn) {}
	ends := []struct {
		name  string
		serve func(c *handler.Client) error
		leave func(t *testing.T, conn net.Conn)
	}{
		{"client's FIN", nil, func(t *testing.T, conn net.Conn) { conn.Close() }},
		{"client's reset", nil, reset},
		{"handler closes", func(*handler.Client) error { return handler.ErrQuit }, leaveQuietly},
		{"handler's error", func(*handler.Client) error { return errors.New("no") }, leaveQuietly},
		{"panic", func(*handler.Client) error { panic("as asked") }, leaveQuietly},
		{"Goexit", func(*handler.Client) error { runtime.Goexit(); return nil }, leaveQuietly},
		{"hijack", func(c *handler.Client) error {
			conn, _, err := c.Hijack()
			if err == nil {
				err = conn.Close()
			}
			return err
		}, leaveQuietly},
	}
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			h := greeting()
			if end.serve != nil {
				h.OnFrame = func(c *handler.Client, _ []byte) error { return end.serve(c) }
			}
			h.OnRecord = func(handler.Record) {}
			s := start(t, tcp.Config{MaxClients: 1, MaxClientsPerIP: 1, Log: new(journal).logger()}, h)
			for range 3 {
				conn := dial(t, "tcp", s.Addr)
				receive(t, conn, "welcome\n")
				send(t, conn, "a\n")
				if end.serve == nil {
					receive(t, conn, "a\n")
				} else {
					receiveAll(t, conn, "")
				}
				end.leave(t, conn)
				conn.Close()
			}
			eventually(t, "the last one's end", func() bool { return s.TCP.Stats().Active == 0 })
			if st := s.TCP.Stats(); st.Accepted != 3 || st.RefusedPerIP != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestAcceptRate(t *testing.T) {
	tests := []struct {
		rate  float64
		n     int
		burst int // how many may come at once
	}{
		{0.5, 5, 1},
		{10, 21, 1},
		{1000, 100, 10},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := tcptest.Listen()
				var mu sync.Mutex
				var at []time.Duration
				begin := time.Now()
				h := &handler.Frames{OnOpen: func(*handler.Client) error {
					mu.Lock()
					defer mu.Unlock()
					at = append(at, time.Since(begin))
					return nil
				}}
				srv := &tcp.Server{Handler: h, Config: tcp.Config{AcceptRate: test.rate}}
				result := serve(t.Context(), t, srv, ln)
				for range test.n {
					join(t, ln)
				}
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if len(at) != test.n {
					t.Fatalf("%d of %d clients were let in", len(at), test.n)
				}
				slices.Sort(at)
				for i, got := range at {
					due := time.Duration(float64(max(0, i-test.burst+1)) / test.rate * float64(time.Second))
					if got < due-time.Millisecond || got > due+time.Millisecond {
						t.Fatalf("client %d came in after %v, want %v", i+1, got, due)
					}
				}
				shutdown(t, srv)
				result()
			})
		})
	}
}

func TestShutdownEndsTheWaitForAPlace(t *testing.T) {
	configs := map[string]tcp.Config{
		"full": {MaxClients: 1},
		"rate": {AcceptRate: 0.001},
	}
	for name, cfg := range configs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := tcptest.Listen()
				srv := &tcp.Server{Handler: greeting(), Config: cfg}
				result := serve(t.Context(), t, srv, ln)
				receive(t, join(t, ln), "welcome\n")
				synctest.Wait()
				begin := time.Now()
				shutdown(t, srv)
				result()
				if took := time.Since(begin); took > 100*time.Millisecond {
					t.Errorf("shutdown took %v", took)
				}
			})
		})
	}
}
