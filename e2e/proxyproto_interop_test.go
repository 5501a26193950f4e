//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests use HAProxy, nginx and wireline itself as balancers in front of a wireline that
// requires the header of the PROXY protocol.

// startHeaderRequired starts an echo server that requires the header of the PROXY protocol and
// logs the connections that it refuses.
func startHeaderRequired(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, append(headerRequired("--log.level=debug"), args...)...)
}

func headerRequired(args ...string) []string {
	return append(args, "--tcp.proxy_protocol=required", "--tcp.proxy_protocol_trusted=127.0.0.0/8")
}

// wantClientNames sends lines to p through the balancer at addr, and checks that the records
// have the clients' addresses and that no connection was refused.
func wantClientNames(t *testing.T, p *process, addr string) {
	t.Helper()
	long := strings.Repeat("0123456789abcdef\n", 10_000)
	for _, input := range []string{"hello\n", long, "half"} {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		go func() {
			conn.Write([]byte(input)) // a failure shows below
			conn.(*net.TCPConn).CloseWrite()
		}()
		receiveRest(t, conn, input)
		record := p.await("peer", conn.LocalAddr().String())
		if want := fmt.Sprint(len(input)); record["bytes_in"] != want || record["bytes_out"] != want || record["reason"] != "fin" {
			t.Errorf("record %v, want %s bytes and a FIN: the header does not count", record, want)
		}
	}
}

// stopUnrefused stops the server, and checks that it has refused no connection.
func (p *process) stopUnrefused() {
	p.t.Helper()
	p.stopQuiet()
	if refused := p.find("msg", "refused"); len(refused) > 0 {
		p.t.Errorf("%d connections refused, the first: %v", len(refused), refused[0])
	}
}

func TestProxyHeaderHAProxy(t *testing.T) {
	t.Parallel()
	for _, send := range []string{"send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"} {
		t.Run(send, func(t *testing.T) {
			t.Parallel()
			p := startHeaderRequired(t)
			_, addr := runHAProxy(t, balancerConf("server one "+p.addr+" "+send))
			wantClientNames(t, p, addr)
			p.stopUnrefused()
		})
	}
}

// A health check of HAProxy has no client: its header is LOCAL, or UNKNOWN in version 1. The
// server must accept it, or HAProxy would send it no client at all.
func TestProxyHeaderHAProxyChecks(t *testing.T) {
	t.Parallel()
	for _, send := range []string{"send-proxy", "send-proxy-v2"} {
		for _, check := range []struct{ name, options, reason string }{
			{"connect", "", "Layer4 check passed"},
			{"line", "option tcp-check\n\ttcp-check send hello\\n\n\ttcp-check expect string hello\n", "Layer7 check passed"},
		} {
			t.Run(send+" "+check.name, func(t *testing.T) {
				t.Parallel()
				p := startHeaderRequired(t)
				balancer, addr := runHAProxy(t, balancerConf(check.options,
					"server one "+p.addr+" "+send+" check check-send-proxy inter 200ms rise 2 fall 1"))
				balancer.awaitOutput("Health check for server wireline/one succeeded, reason: " + check.reason)
				const checks = 5 // HAProxy keeps the server through all of them
				for i := range checks {
					p.awaitIn(&p.stderr, "msg=connection", i+1)
				}
				wantClientNames(t, p, addr)
				if said := balancer.stdout.String(); strings.Contains(said, "failed") || strings.Contains(said, "DOWN") {
					t.Errorf("HAProxy printed\n%s", said)
				}
				p.stopUnrefused()
			})
		}
	}
}

// balancerConf returns a configuration of HAProxy as a TCP balancer.
func balancerConf(backend ...string) string {
	return `
global
	log stdout format raw daemon
defaults
	mode tcp
	log global
	option log-health-checks
	timeout client 20s
	timeout connect 20s
	timeout server 20s
	timeout check 20s
listen wireline
	bind fd@0
	` + strings.Join(backend, "\n\t") + "\n"
}

func TestProxyHeaderNginx(t *testing.T) {
	t.Parallel()
	p := startHeaderRequired(t)
	_, addr := startNginxProxy(t, p.addr, "proxy_protocol on;", "proxy_half_close on;")
	wantClientNames(t, p, addr)
	p.stopUnrefused()
}

// A connection without a header is not served, although the balancer is trusted.
func TestProxyHeaderNginxWithoutHeader(t *testing.T) {
	t.Parallel()
	p := startHeaderRequired(t)
	_, addr := startNginxProxy(t, p.addr)
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	send(t, conn, "hello\n")
	if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}
	p.await("msg", "refused")
	p.stopQuiet()
}

// wireline sends its client's address to wireline, also through two proxies: the second one
// passes on what it received from the first.
func TestProxyHeaderWireline(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"v1", "v2"} {
		for _, second := range []string{"", "v1", "v2"} {
			t.Run(strings.TrimSpace(first+" "+second), func(t *testing.T) {
				t.Parallel()
				last := startHeaderRequired(t)
				chain := []*process{last}
				if second != "" {
					chain = append(chain, startProxy(t, last.addr, headerRequired("--log.level=debug", "--proxy.send_proxy="+second)...))
				}
				next := chain[len(chain)-1].addr
				chain = append(chain, startProxy(t, next, "--log.level=debug", "--proxy.send_proxy="+first))
				wantClientNames(t, last, chain[len(chain)-1].addr)
				for _, p := range chain {
					p.stopUnrefused()
				}
				want := peers(last)
				for _, p := range chain[1:] { // each of them logs the client
					if got := peers(p); len(got) != 3 || !slices.Equal(got, want) {
						t.Errorf("clients %v, the last one saw %v", got, want)
					}
				}
			})
		}
	}
}

// peers returns the peers in the server's records.
func peers(p *process) (addrs []string) {
	for _, record := range p.find("msg", "connection") {
		addrs = append(addrs, record["peer"])
	}
	slices.Sort(addrs)
	return addrs
}
