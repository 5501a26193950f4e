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

// Here the programs of others, and wireline as a proxy, name their clients to a
// wireline that wants to know.

// startAnnounced starts an echo server that wants the header of the PROXY protocol,
// and whose log says what it refuses.
func startAnnounced(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, append(headerRequired("--log.level=debug"), args...)...)
}

func headerRequired(args ...string) []string {
	return append(args, "--tcp.proxy_protocol=required", "--tcp.proxy_protocol_trusted=127.0.0.0/8")
}

// wantAnnounced sends lines through the balancer at addr to p, and wants the records
// to name the clients. Nothing was refused.
func wantAnnounced(t *testing.T, p *process, addr string) {
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
			conn.Write([]byte(input)) // what does not arrive is missed below
			conn.(*net.TCPConn).CloseWrite()
		}()
		receiveRest(t, conn, input)
		record := p.await("peer", conn.LocalAddr().String())
		if want := fmt.Sprint(len(input)); record["bytes_in"] != want || record["bytes_out"] != want || record["reason"] != "fin" {
			t.Errorf("record %v, want %s bytes and a FIN: the header is none of the client's", record, want)
		}
	}
}

// stopUnrefused stops a server that has refused nobody.
func (p *process) stopUnrefused() {
	p.t.Helper()
	p.stopQuiet()
	if refused := p.find("msg", "refused"); len(refused) > 0 {
		p.t.Errorf("%d connections refused, the first: %v", len(refused), refused[0])
	}
}

func TestAnnounceHAProxy(t *testing.T) {
	t.Parallel()
	for _, send := range []string{"send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"} {
		t.Run(send, func(t *testing.T) {
			t.Parallel()
			p := startAnnounced(t)
			_, addr := runHAProxy(t, balancerConf("server one "+p.addr+" "+send))
			wantAnnounced(t, p, addr)
			p.stopUnrefused()
		})
	}
}

// A check of HAProxy's is a connection that it has nobody to name for: LOCAL, or
// UNKNOWN in version 1. It has to pass, or no client ever came.
func TestAnnounceHAProxyChecks(t *testing.T) {
	t.Parallel()
	for _, send := range []string{"send-proxy", "send-proxy-v2"} {
		for _, check := range []struct{ name, options, reason string }{
			{"connect", "", "Layer4 check passed"},
			{"line", "option tcp-check\n\ttcp-check send hello\\n\n\ttcp-check expect string hello\n", "Layer7 check passed"},
		} {
			t.Run(send+" "+check.name, func(t *testing.T) {
				t.Parallel()
				p := startAnnounced(t)
				balancer, addr := runHAProxy(t, balancerConf(check.options,
					"server one "+p.addr+" "+send+" check check-send-proxy inter 200ms rise 2 fall 1"))
				balancer.awaitOutput("Health check for server wireline/one succeeded, reason: " + check.reason)
				const checks = 5 // none of which takes the server out
				for i := range checks {
					p.awaitIn(&p.stderr, "msg=connection", i+1)
				}
				wantAnnounced(t, p, addr)
				if said := balancer.stdout.String(); strings.Contains(said, "failed") || strings.Contains(said, "DOWN") {
					t.Errorf("HAProxy printed\n%s", said)
				}
				p.stopUnrefused()
			})
		}
	}
}

// balancerConf is a configuration of HAProxy as a balancer of connections.
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

func TestAnnounceNginx(t *testing.T) {
	t.Parallel()
	p := startAnnounced(t)
	_, addr := startNginxProxy(t, p.addr, "proxy_protocol on;", "proxy_half_close on;")
	wantAnnounced(t, p, addr)
	p.stopUnrefused()
}

// Without a header the balancer's clients are not served, though it is trusted.
func TestAnnounceNginxWithoutHeader(t *testing.T) {
	t.Parallel()
	p := startAnnounced(t)
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

// wireline names its client to wireline, over two of them too: the second says what
// it was told by the first.
func TestAnnounceWireline(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"v1", "v2"} {
		for _, second := range []string{"", "v1", "v2"} {
			t.Run(strings.TrimSpace(first+" "+second), func(t *testing.T) {
				t.Parallel()
				last := startAnnounced(t)
				chain := []*process{last}
				if second != "" {
					chain = append(chain, startProxy(t, last.addr, headerRequired("--log.level=debug", "--proxy.send_proxy="+second)...))
				}
				next := chain[len(chain)-1].addr
				chain = append(chain, startProxy(t, next, "--log.level=debug", "--proxy.send_proxy="+first))
				wantAnnounced(t, last, chain[len(chain)-1].addr)
				for _, p := range chain {
					p.stopUnrefused()
				}
				want := peers(last)
				for _, p := range chain[1:] { // each of them knows who it was
					if got := peers(p); len(got) != 3 || !slices.Equal(got, want) {
						t.Errorf("clients %v, the last one saw %v", got, want)
					}
				}
			})
		}
	}
}

// peers are the clients that a server has records of.
func peers(p *process) (addrs []string) {
	for _, record := range p.find("msg", "connection") {
		addrs = append(addrs, record["peer"])
	}
	slices.Sort(addrs)
	return addrs
}
