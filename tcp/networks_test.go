package tcp_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pires/go-proxyproto"

	"wireline/tcp"
	"wireline/tcptest"
)

// dialFrom connects to ln from an address.
func dialFrom(t *testing.T, ln *tcptest.Listener, ip string) net.Conn {
	t.Helper()
	conn, err := ln.DialFrom(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestMaxClientsPerPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{MaxClientsPerPrefix: 2, MaxClientsPerIP: 1, PrefixV4: 24}}
		result := serve(t.Context(), t, srv, ln)
		from := func(ip string) net.Conn { return dialFrom(t, ln, ip) }
		for i := range 40 { // of one /64
			conn := from(fmt.Sprintf("2001:db8::%x", i+1))
			if i < 2 {
				receive(t, conn, "welcome\n")
			} else {
				receiveReset(t, conn)
			}
		}
		receive(t, from("2001:db8:0:1::1"), "welcome\n") // another /64
		a := from("192.0.2.1")
		receive(t, a, "welcome\n")
		receiveReset(t, from("192.0.2.1")) // the limit by address
		receive(t, from("::ffff:192.0.2.2"), "welcome\n")
		receiveReset(t, from("192.0.2.3"))
		receive(t, from("192.0.3.1"), "welcome\n")
		a.Close()
		synctest.Wait()
		receive(t, from("192.0.2.3"), "welcome\n")
		if s := srv.Stats(); s.RefusedPerPrefix != 39 || s.RefusedPerIP != 1 || s.Active != 6 {
			t.Errorf("stats %+v", s)
		}
		shutdown(t, srv)
		result()
		if s := srv.Stats(); s.Active != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAllowAndDeny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{
			Allow: []string{"192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120"},
			Deny:  []string{"192.0.2.128/25", "192.0.2.7"},
		}}
		result := serve(t.Context(), t, srv, ln)
		for ip, want := range map[string]bool{
			"192.0.2.1": true, "::ffff:192.0.2.1": true, "2001:db8::1": true, "198.51.100.1": true,
			"192.0.2.7": false, "192.0.2.200": false, "192.0.3.1": false, "2001:db9::1": false,
		} {
			conn := dialFrom(t, ln, ip)
			if want {
				receive(t, conn, "welcome\n")
			} else {
				receiveReset(t, conn)
			}
		}
		if s := srv.Stats(); s.RefusedDenied != 4 || s.Accepted != 4 {
			t.Errorf("stats %+v", s)
		}
		shutdown(t, srv)
		result()
	})
}

// Behind a trusted balancer the announced address counts, and from anybody else the own.
func TestDenyTheAnnouncedAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{
			ProxyProtocol: tcp.ProxyProtocolOptional, ProxyProtocolTrusted: []string{"10.0.0.1"},
			Deny: []string{"192.0.2.0/24", "10.0.0.0/8"}, MaxClientsPerPrefix: 1,
		}}
		result := serve(t.Context(), t, srv, ln)
		announce := func(from, client string) net.Conn {
			t.Helper()
			conn := dialFrom(t, ln, from)
			var b bytes.Buffer
			address := func(ip string) net.Addr {
				return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))
			}
			if _, err := proxyproto.HeaderProxyFromAddrs(2, address(client), address(client)).WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(b.Bytes()); err != nil {
				t.Fatal(err)
			}
			return conn
		}
		receive(t, announce("10.0.0.1", "198.51.100.1"), "welcome\n")
		receive(t, announce("10.0.0.1", "2001:db8::1"), "welcome\n")
		receiveReset(t, announce("10.0.0.1", "2001:db8::2"))
		receiveReset(t, announce("10.0.0.1", "192.0.2.1"))
		receiveReset(t, dialFrom(t, ln, "192.0.2.1"))
		receiveReset(t, dialFrom(t, ln, "10.0.0.2"))
		if s := srv.Stats(); s.RefusedDenied != 3 || s.RefusedPerPrefix != 1 || s.Accepted != 2 {
			t.Errorf("stats %+v", s)
		}
		shutdown(t, srv)
		result()
	})
}

func TestValidateNetworks(t *testing.T) {
	for _, test := range []struct {
		cfg  tcp.Config
		want string
	}{
		{tcp.Config{MaxClientsPerPrefix: 1, PrefixV4: 32, PrefixV6: 128, Allow: []string{"::/0", "1.2.3.4"}}, ""},
		{tcp.Config{MaxClientsPerPrefix: -1}, "MaxClientsPerPrefix -1: must not be negative"},
		{tcp.Config{PrefixV4: 33}, "PrefixV4 33: must be from 1 to 32"},
		{tcp.Config{PrefixV6: -1}, "PrefixV6 -1: must be from 1 to 128"},
		{tcp.Config{Allow: []string{"10.0.0.0"}, Deny: []string{"10.0.0.0/33"}}, "Deny 10.0.0.0/33: must be a network"},
		{tcp.Config{Network: "unix", Address: "s", Allow: []string{"::1"}}, "has no effect on unix sockets"},
		{tcp.Config{Network: "unix", Address: "s", Allow: []string{"::1"}, ProxyProtocol: "required"}, ""},
	} {
		err := test.cfg.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.cfg.Allow, err, test.want)
		}
	}
}
