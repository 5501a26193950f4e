//go:build unix

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wireline/internal/testutil"
)

// services is a process with several services.
type services struct {
	*process
	ca *authority
}

// startServices starts echo, echo with TLS, and a proxy to the first. change is for the
// configuration file, before are arguments of env(1).
func startServices(t *testing.T, change func(file string) string, before ...string) *services {
	t.Helper()
	a := newAuthority(t)
	a.issue("localhost")
	port := freePorts(t, 1)
	file := fmt.Sprintf(`
tcp: {drain_timeout: 5m, max_clients: 20}
echo: {max_line: 8MiB, write_timeout: 10m}
services:
  lines:
    tcp: {address: "127.0.0.1:%d"}
  secure:
    tcp: {address: "127.0.0.1:0", tls: {cert: %q, key: %q}}
  front:
    handler: proxy
    tcp: {address: "127.0.0.1:0"}
    proxy: {upstreams: ["127.0.0.1:%d"]}
`, port, a.file("localhost.pem"), a.file("localhost.key"), port)
	name := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(name, []byte(change(file)), 0o600); err != nil {
		t.Fatal(err)
	}
	return &services{launch(t, "env", append(before, "wireline", "--config="+name)...), a}
}

func unchanged(file string) string { return file }

// listening waits until all services listen.
func (s *services) listening(n int) {
	s.t.Helper()
	s.awaitIn(&s.stderr, "msg=listening ", n)
}

// of returns the only line of a service with this message.
func (s *services) of(service, msg string) entry {
	s.t.Helper()
	for range 2 {
		for _, e := range s.find("msg", msg) {
			if e["service"] == service {
				return e
			}
		}
		<-s.exited // nothing comes after that
	}
	s.t.Fatalf("no line %s of the service %s", msg, service)
	return nil
}

// dial connects to a service.
func (s *services) dial(service string) net.Conn {
	s.t.Helper()
	conn := testutil.Dial(s.t, "tcp", s.of(service, "listening")["addr"])
	if service != "secure" {
		return conn
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ca.PEM)
	return tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "localhost"})
}

func TestServices(t *testing.T) {
	t.Parallel()
	s := startServices(t, unchanged, "WIRELINE_SERVICES_LINES_TCP_MAX_CLIENTS=3",
		"WIRELINE_SERVICES_MORE_HANDLER=echo", "WIRELINE_SERVICES_MORE_TCP_ADDRESS=127.0.0.1:0", "WIRELINE_SERVICES_MORE_ECHO_MAX_LINE=5")
	s.listening(4)
	names := []string{"front", "lines", "more", "secure"}
	clients := map[string]net.Conn{}
	for _, name := range names {
		clients[name] = s.dial(name)
		echoes(t, clients[name], "hello\n")
	}
	long := s.dial("more") // the environment has set its limit
	send(t, long, "hello, world\n")
	receiveRest(t, long, "error: line too long (max 5 bytes)\n")

	s.signal(syscall.SIGTERM)
	for _, name := range names {
		receiveRest(t, clients[name], "")
	}
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	for _, name := range names {
		if e := s.of(name, "draining"); e["signal"] != "terminated" || e["timeout_s"] != "300" {
			t.Errorf("%s: %v", name, e)
		}
		if e := s.of(name, "connection"); e["peer"] == "" {
			t.Errorf("%s: %v", name, e)
		}
		if e := s.of(name, "drained"); e["cut"] != "0" {
			t.Errorf("%s: %v", name, e)
		}
	}
	if all := s.find("service", ""); len(all) > 0 {
		t.Errorf("lines without a service: %v", all)
	}
}

// A service that takes long to drain holds up no other, and a second signal cuts it short.
func TestServicesDrainInParallel(t *testing.T) {
	t.Parallel()
	for _, slow := range []string{"lines", "secure"} { // one in the middle and the last by name
		t.Run(slow, func(t *testing.T) {
			t.Parallel()
			s := startServices(t, unchanged)
			s.listening(3)
			names := []string{"front", "lines", "secure"}
			quick := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == slow || name == "front" && slow == "lines" })
			clients := map[string]net.Conn{}
			for _, name := range quick {
				clients[name] = s.dial(name)
				echoes(t, clients[name], "hello\n")
			}
			stalled := s.dial(slow)
			send(t, stalled, strings.Repeat("x", longReply-1)+"\n")
			receive(t, stalled, "x")
			s.signal(syscall.SIGTERM)
			for _, name := range quick {
				receiveRest(t, clients[name], "")
			}
			s.awaitIn(&s.stderr, "msg=drained ", 2)
			for _, e := range s.find("msg", "drained") {
				if e["service"] == slow {
					t.Errorf("%s has drained already: %v", slow, e)
				}
			}
			s.signal(syscall.SIGTERM)
			if code := s.wait(); code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			if e := s.of(slow, "drained"); e["cut"] != "1" {
				t.Errorf("%s: %v", slow, e)
			}
		})
	}
}

// One address that is taken: no service starts.
func TestServicesAddressTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	s := startServices(t, unchanged, "WIRELINE_SERVICES_SECURE_TCP_ADDRESS="+addr)
	if code := s.wait(); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	want := `wireline: services.secure.tcp.address: env WIRELINE_SERVICES_SECURE_TCP_ADDRESS: "` + addr + `" cannot be bound: listen tcp ` + addr + ": bind: address already in use\n"
	if got := s.stderr.String(); got != want {
		t.Errorf("it wrote\n%swant\n%s", got, want)
	}
}

// A service alone has its name in the log.
func TestServiceAlone(t *testing.T) {
	t.Parallel()
	s := startServices(t, func(file string) string {
		before, _, _ := strings.Cut(file, "  secure:")
		return before
	})
	s.listening(1)
	echoes(t, s.dial("lines"), "hello\n")
	s.stop()
	if n := len(s.find("service", "lines")); n != 4 {
		t.Errorf("%d lines with the service, want 4", n)
	}
}
