//go:build unix

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// lateKind is a server of TestLatePreamble, and what its clients say before the first line.
type lateKind struct {
	name     string
	start    func(t *testing.T, tlsFlags []string) *process
	preamble func(conn net.Conn) (net.Conn, error)
}

func lateKinds() []lateKind {
	secure := func(args ...string) func(*testing.T, []string) *process {
		return func(t *testing.T, flags []string) *process { return start(t, append(args, flags...)...) }
	}
	plain := func(args ...string) func(*testing.T, []string) *process {
		return func(t *testing.T, _ []string) *process { return start(t, args...) }
	}
	proxied := func(f func(...string) func(*testing.T, []string) *process, args ...string) func(*testing.T, []string) *process {
		return func(t *testing.T, flags []string) *process {
			return f(append(args, "--handler=proxy", "--proxy.upstreams="+serveUpstream(t, echoAll))...)(t, flags)
		}
	}
	version := func(v uint16) func(net.Conn) (net.Conn, error) {
		return func(conn net.Conn) (net.Conn, error) {
			c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v})
			return c, c.Handshake()
		}
	}
	header := func(conn net.Conn) (net.Conn, error) {
		_, err := io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
		return conn, err
	}
	relay := func(t *testing.T, _ []string) *process {
		return startCommand(t, "relay", serveUpstream(t, echoAll), "header")
	}
	return []lateKind{
		{"TLS 1.2", secure(), version(tls.VersionTLS12)},
		{"TLS 1.3", secure(), version(tls.VersionTLS13)},
		{"TLS 1.3, proxy", proxied(secure), version(tls.VersionTLS13)},
		{"PROXY header", plain(headerRequired()...), header},
		{"PROXY header, proxy", proxied(plain, headerRequired()...), header},
		{"PROXY header, handler.Func", relay, header},
	}
}

// A client whose preamble is over only after the server has begun to stop has a second for its
// first line. If it sends none, it gets a FIN.
func TestLatePreamble(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("localhost")
	flags := []string{"--tcp.tls.cert=" + a.file("localhost.pem"), "--tcp.tls.key=" + a.file("localhost.key")}
	for _, kind := range lateKinds() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for range 10 {
				if kind.try(t, flags) {
					return
				}
			}
			t.Skip("the machine is too slow")
		})
	}
}

// try reports false if the test was too slow to be within the time that clients have.
func (k *lateKind) try(t *testing.T, flags []string) bool {
	p := k.start(t, flags)
	talks, silent := p.dial(), p.dial()
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	p.await("msg", "draining")
	conn, err := k.preamble(talks)
	if err == nil {
		silent, err = k.preamble(silent)
	}
	if time.Since(begin) > 150*time.Millisecond {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // it takes its time
	line := fmt.Sprintf("%s\n", k.name)
	_, err = io.WriteString(conn, line)
	if time.Since(begin) > 800*time.Millisecond {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	receiveRest(t, conn, line)
	receiveRest(t, silent, "")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantDrained(t, p, entry{"level": "INFO", "idle": "0", "finished": "2", "cut": "0"})
	return true
}
