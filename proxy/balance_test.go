package proxy_test

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"wireline/proxy"
	"wireline/tcptest"
)

// The same address gets the same upstream, and when one goes only its own clients
// move.
func TestSourceHash(t *testing.T) {
	var names []string
	upstreams := map[string]net.Listener{}
	for range 4 {
		ln, name := newUpstream(t, "tcp")
		names = append(names, name)
		upstreams[name] = ln
	}
	ln := tcptest.Listen()
	tr := transport{listen: func(*testing.T) (net.Listener, func() (net.Conn, error)) { return ln, nil }}
	s := tr.serve(t, proxy.Config{Upstreams: names, Balance: proxy.BalanceSourceHash})
	go discardAll(upstreams)

	where := func(i int) string {
		t.Helper()
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 0)
		client, err := ln.DialFrom(from)
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		return s.records.Next(t).Upstream
	}
	first, count := map[int]string{}, map[string]int{}
	for i := range 200 {
		first[i] = where(i)
		count[first[i]]++
	}
	for _, name := range names {
		if count[name] < 25 {
			t.Errorf("one of four upstreams has %d of 200 clients: %v", count[name], count)
		}
	}
	upstreams[names[0]].Close()
	for i := range 200 {
		if got := where(i); got != first[i] && first[i] != names[0] {
			t.Fatalf("client %d went to %s, goes to %s, though only %s is gone", i, first[i], got, names[0])
		}
	}
}

// discardAll accepts from each listener until it is closed, and reads to the end.
func discardAll(listeners map[string]net.Listener) {
	for _, ln := range listeners {
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					io.Copy(io.Discard, conn)
				}()
			}
		}()
	}
}

// counts is how many clients each upstream of a proxy has had.
func counts(x *proxy.Proxy) (list []uint64) {
	for _, u := range x.Upstreams() {
		list = append(list, u.Connections)
	}
	return list
}

func TestBalance(t *testing.T) {
	setup := func(t *testing.T, balance proxy.Balance) *served {
		var names []string
		upstreams := map[string]net.Listener{}
		for range 3 {
			ln, name := newUpstream(t, "tcp")
			names = append(names, name)
			upstreams[name] = ln
		}
		go discardAll(upstreams)
		return transports[0].serve(t, proxy.Config{Upstreams: names, Balance: balance})
	}
	t.Run("round robin", func(t *testing.T) {
		s := setup(t, proxy.BalanceRoundRobin)
		for range 9 {
			s.connect().Close()
			s.records.Next(t)
		}
		if got := counts(s.proxy); !slices.Equal(got, []uint64{3, 3, 3}) {
			t.Errorf("%v, want all the same", got)
		}
	})
	t.Run("least connections", func(t *testing.T) {
		s := setup(t, proxy.BalanceLeastConn)
		var held []net.Conn
		for range 6 { // two each
			held = append(held, s.connect())
			eventually(t, "the connections", func() bool { return total(counts(s.proxy)) == uint64(len(held)) })
		}
		if got := counts(s.proxy); !slices.Equal(got, []uint64{2, 2, 2}) {
			t.Errorf("%v, want all the same", got)
		}
		held[0].Close() // and the next one goes where it was
		gone := s.records.Next(t).Upstream
		s.connect()
		eventually(t, "the connections", func() bool { return total(counts(s.proxy)) == 7 })
		for _, u := range s.proxy.Upstreams() {
			if u.Address == gone && u.Connections != 3 {
				t.Errorf("%+v, want the one with the fewest clients to get the next", s.proxy.Upstreams())
			}
		}
	})
	t.Run("random of two", func(t *testing.T) {
		s := setup(t, proxy.BalanceRandom)
		for i := range 60 { // held: so the emptier one of two wins
			s.connect()
			eventually(t, "the connections", func() bool { return total(counts(s.proxy)) == uint64(i+1) })
		}
		for _, n := range counts(s.proxy) {
			if n < 15 || n > 25 {
				t.Errorf("%v of 60, want nearly the same", counts(s.proxy))
			}
		}
	})
}

func total(list []uint64) (sum uint64) {
	for _, n := range list {
		sum += n
	}
	return sum
}
