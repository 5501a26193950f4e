//go:build unix

package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// In these tests wireline is a proxy whose upstreams are other programs that speak TLS.

var python = tool{name: "python3", pkg: "python3"}

// startTLSProxy starts a proxy that trusts the authority, to an upstream that must prove to be
// the host in its address.
func (a *authority) startTLSProxy(t *testing.T, upstream string, args ...string) *process {
	t.Helper()
	return startProxy(t, upstream, append([]string{"--proxy.tls.enable=true", "--proxy.tls.ca=" + a.file("ca.pem")}, args...)...)
}

// serverArgs are the flags of a server that speaks TLS as "localhost".
func (a *authority) serverArgs() []string {
	a.issue("localhost")
	return []string{"--tcp.tls.cert=" + a.file("localhost.pem"), "--tcp.tls.key=" + a.file("localhost.key")}
}

// both returns a file with the certificate and the key of "localhost", as HAProxy wants it.
func (a *authority) both() string {
	a.t.Helper()
	a.issue("localhost")
	var text []byte
	for _, name := range []string{"localhost.pem", "localhost.key"} {
		part, err := os.ReadFile(a.file(name))
		if err != nil {
			a.t.Fatal(err)
		}
		text = append(text, part...)
	}
	testutil.ReplaceFile(a.t, a.file("both.pem"), text)
	return a.file("both.pem")
}

// asLocalhost is an address on this machine with the name of its certificate.
func asLocalhost(addr string) string {
	_, port := splitAddr(addr)
	return "localhost:" + port
}

// tlsUpstreams are programs that speak TLS as "localhost", and echo or relay to an echo.
var tlsUpstreams = []struct {
	name  string
	start func(t *testing.T, a *authority) (addr string)
}{
	{"HAProxy", func(t *testing.T, a *authority) string {
		_, addr := a.startHAProxyTLS(t, "")
		return addr
	}},
	{"nginx", startNginxTLS},
	{"socat", func(t *testing.T, a *authority) string {
		path, port := need(t, socat), freePort(t)
		a.issue("localhost")
		p := launch(t, path, "-d", "-d", "-t", "20", "OPENSSL-LISTEN:"+port+",bind=127.0.0.1,reuseaddr,fork,verify=0,cert="+
			a.file("localhost.pem")+",key="+a.file("localhost.key"), "EXEC:cat")
		p.awaitIn(&p.stderr, "listening on", 1)
		return "127.0.0.1:" + port
	}},
	{"Python", func(t *testing.T, a *authority) string {
		path, port := need(t, python), freePort(t)
		a.issue("localhost")
		launch(t, path, "-c", pythonEcho, port, a.file("localhost.pem"), a.file("localhost.key")).awaitOutput("listening")
		return "127.0.0.1:" + port
	}},
	{"wireline", func(t *testing.T, a *authority) string {
		return start(t, append(a.serverArgs(), "--handler=proxy", "--proxy.upstreams="+serveUpstream(t, echoAll))...).addr
	}},
}

// pythonEcho echoes, and ends with a close_notify.
const pythonEcho = `
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print("listening", flush=True)
def serve(conn):
    with context.wrap_socket(conn, server_side=True) as s:
        while data := s.recv(65536):
            s.sendall(data)
        s.unwrap()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
`

// startHAProxyTLS starts HAProxy with TLS on the client side, in front of an echo. Its log says
// whether sessions are resumed, and who the clients are.
func (a *authority) startHAProxyTLS(t *testing.T, bind string) (p *process, addr string) {
	t.Helper()
	return runHAProxy(t, `
global
	log stdout format raw daemon
defaults
	mode tcp
	log global
	timeout client 20s
	timeout connect 20s
	timeout server 20s
frontend test
	bind fd@0 ssl crt `+a.both()+` `+bind+`
	log-format "client=%ci:%cp resumed=%[ssl_fc_is_resumed] sni=%[ssl_fc_sni]"
	default_backend echo
backend echo
	server one `+serveUpstream(t, echoAll)+`
`)
}

// startNginxTLS starts nginx's stream module with TLS on the client side, in front of an echo.
func startNginxTLS(t *testing.T, a *authority) (addr string) {
	t.Helper()
	a.issue("localhost")
	addr = "127.0.0.1:" + freePort(t)
	startNginxStream(t, fmt.Sprintf("listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; proxy_pass %s; proxy_half_close on;",
		addr, a.file("localhost.pem"), a.file("localhost.key"), serveUpstream(t, echoAll)))
	return addr
}

// wantEchoes sends to an echo, and a FIN, and checks that all comes back, and then the end.
func wantEchoes(t *testing.T, addr string) {
	t.Helper()
	for _, input := range []string{"hello\n", "", string(randomBytes(3 << 20))} {
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
	}
}

func TestProxyTLSUpstream(t *testing.T) {
	t.Parallel()
	for _, upstream := range tlsUpstreams {
		t.Run(upstream.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			p := a.startTLSProxy(t, asLocalhost(upstream.start(t, a)))
			wantEchoes(t, p.addr)
			p.stopQuiet()
			if records := p.find("reason", "fin"); len(records) != 2 { // one was a probe: no byte
				t.Errorf("%d records of a FIN, want 2", len(records))
			}
		})
	}
}

// Connections that wait in a pool, where session tickets have arrived on them.
func TestProxyTLSPool(t *testing.T) {
	t.Parallel()
	for _, upstream := range tlsUpstreams {
		t.Run(upstream.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			p := a.startTLSProxy(t, asLocalhost(upstream.start(t, a)), "--proxy.pool.size=2", "--proxy.pool.reuse=true", "--proxy.pool.reuse_quiet=100ms")
			time.Sleep(1500 * time.Millisecond) // the pool has looked at them
			for i := range 5 {
				conn := p.dial()
				line := fmt.Sprintf("hello %d\n", i)
				echoes(t, conn, line)
				conn.(*net.TCPConn).CloseWrite()
				receiveRest(t, conn, "")
			}
			p.stopQuiet()
		})
	}
}

// TLS on both sides, with other programs in front. nginx half-closes without a close_notify, and
// so does the proxy then.
func TestProxyTLSBothSides(t *testing.T) {
	t.Parallel()
	for _, front := range []struct {
		name  string
		start func(t *testing.T, a *authority, addr string) string
	}{
		{"HAProxy", func(t *testing.T, a *authority, addr string) string {
			_, front := runHAProxy(t, balancerConf("server one "+addr+" ssl verify required ca-file "+a.file("ca.pem")+" verifyhost localhost sni str(localhost)"))
			return front
		}},
		{"nginx", func(t *testing.T, a *authority, addr string) string {
			_, front := startNginxProxy(t, addr, "proxy_half_close on;", "proxy_ssl on;", "proxy_ssl_verify on;",
				"proxy_ssl_trusted_certificate "+a.file("ca.pem")+";", "proxy_ssl_name localhost;", "proxy_ssl_server_name on;")
			return front
		}},
		{"wireline", func(t *testing.T, a *authority, addr string) string {
			return a.startTLSProxy(t, asLocalhost(addr)).addr
		}},
	} {
		for _, upstream := range tlsUpstreams {
			t.Run(front.name+" to "+upstream.name, func(t *testing.T) {
				t.Parallel()
				if front.name == "nginx" && upstream.name == "socat" {
					t.Skip("socat replies to no FIN without a close_notify, with or without a proxy in between")
				}
				a := newAuthority(t)
				to := upstream.start(t, a)
				p := a.startTLSProxy(t, asLocalhost(to), a.serverArgs()...)
				wantEchoes(t, front.start(t, a, p.addr))
				p.stopQuiet()
			})
		}
	}
}

// Python's client, through a proxy with TLS on both sides. unwrap waits for the close_notify.
func TestProxyTLSPythonClient(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, python)
	a := newAuthority(t)
	_, upstream := a.startHAProxyTLS(t, "")
	p := a.startTLSProxy(t, asLocalhost(upstream), a.serverArgs()...)
	_, port := splitAddr(p.addr)
	got := runGood(t, "", path, "-c", `
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as conn:
    with context.wrap_socket(conn, server_hostname="localhost") as s:
        for size in (1, 100000):
            s.sendall(b"x" * size)
            while size > 0:
                size -= len(s.recv(65536))
        version = s.version()
        s.unwrap()
        print("done", version)
`, port, a.file("ca.pem"))
	if got != "done TLSv1.3\n" {
		t.Errorf("printed %q", got)
	}
	p.stopQuiet()
}

// s_server serves one client at a time. The second session is resumed.
func TestProxyTLSOpenSSLServer(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			a.issue("localhost")
			a.issue("proxy")
			port := freePort(t)
			server := launchTool(t, path, "s_server", "-accept", "127.0.0.1:"+port, version, "-cert", a.file("localhost.pem"), "-key", a.file("localhost.key"),
				"-Verify", "1", "-verify_return_error", "-CAfile", a.file("ca.pem"))
			server.awaitOutput("ACCEPT")
			p := a.startTLSProxy(t, "localhost:"+port, "--proxy.tls.cert="+a.file("proxy.pem"), "--proxy.tls.key="+a.file("proxy.key"))
			for i := range 3 {
				conn := p.dial()
				send(t, conn, fmt.Sprintf("hello %d\n", i))
				server.awaitOutput(fmt.Sprintf("hello %d\n", i))
				server.send("world\n")
				receive(t, conn, "world\n")
				if version == "-tls1_3" { // it asks for new keys, and uses new ones itself
					server.send("K\n")
					server.awaitIn(&server.stdout, "SSL_do_handshake -> 1", i+1)
					send(t, conn, fmt.Sprintf("again %d\n", i))
					server.awaitOutput(fmt.Sprintf("again %d\n", i))
				}
				conn.Close()
				server.awaitIn(&server.stdout, "DONE\n", i+1)
			}
			if n := strings.Count(server.stdout.String(), "Reused session-id"); n != 2 {
				t.Errorf("%d sessions are resumed, want 2", n)
			}
			p.stopQuiet()
		})
	}
}

// An upstream that asks for new keys, while its connection waits in a pool, gets them before the
// first byte of a client.
func TestProxyTLSKeyUpdateInAPool(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	a.issue("localhost")
	port := freePort(t)
	server := launchTool(t, path, "s_server", "-accept", "127.0.0.1:"+port, "-tls1_3", "-cert", a.file("localhost.pem"), "-key", a.file("localhost.key"))
	server.awaitOutput("ACCEPT")
	p := a.startTLSProxy(t, "localhost:"+port, "--proxy.pool.size=1")
	server.awaitOutput("Secure Renegotiation")
	server.send("K\n")
	time.Sleep(1500 * time.Millisecond) // the pool has looked at it
	conn := p.dial()
	send(t, conn, "hello\n")
	server.awaitOutput("SSL_do_handshake -> 1") // which it prints late
	server.awaitOutput("hello\n")
	server.send("world\n")
	receive(t, conn, "world\n")
	conn.Close()
	p.stopQuiet()
}

func TestProxyTLSHAProxyResumes(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			balancer, upstream := a.startHAProxyTLS(t, "ssl-max-ver "+version)
			p := a.startTLSProxy(t, asLocalhost(upstream))
			for range 3 {
				conn := p.dial()
				echoes(t, conn, "hello\n")
				conn.(*net.TCPConn).CloseWrite()
				receiveRest(t, conn, "")
			}
			balancer.awaitOutput("resumed=0 sni=localhost")
			balancer.awaitIn(&balancer.stdout, "resumed=1 sni=localhost", 2)
			p.stopQuiet()
		})
	}
}

// The header of the PROXY protocol comes before the handshake, also that of a check.
func TestProxyTLSSendsHeader(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			balancer, upstream := a.startHAProxyTLS(t, "accept-proxy")
			p := a.startTLSProxy(t, asLocalhost(upstream), "--proxy.send_proxy="+version, "--proxy.health.interval=100ms", "--proxy.health.fall=1")
			time.Sleep(time.Second) // some checks
			conn := p.dial()
			echoes(t, conn, "hello\n")
			conn.Close()
			balancer.awaitOutput("client=" + conn.LocalAddr().String())
			p.stopQuiet() // so the upstream was never down
		})
	}
}

// A handshake that fails is in the record, and the client is reset.
func TestProxyTLSRefused(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	secure := start(t, a.serverArgs()...)
	for _, test := range []struct{ name, upstream, ca, timeout, err string }{
		{"unknown authority", asLocalhost(secure.addr), other.file("ca.pem"), "20s", "certificate signed by unknown authority"},
		{"wrong name", secure.addr, a.file("ca.pem"), "20s", "127.0.0.1"},
		{"no TLS", asLocalhost(start(t).addr), a.file("ca.pem"), "2s", "TLS handshake with localhost"}, // the timeout ends it
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, test.upstream, "--proxy.tls.enable=true", "--proxy.tls.ca="+test.ca, "--proxy.connect_timeout="+test.timeout)
			conn, err := net.DialTimeout("tcp", p.addr, patience) // it may be reset already
			if err == nil {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				_, err = conn.Read(make([]byte, 1))
			}
			if !netconn.IsReset(err) {
				t.Errorf("the client sees %v, want a reset", err)
			}
			record := p.await("msg", "connection")
			if record["reason"] != "no_upstream" || !strings.Contains(record["err"], "TLS handshake with "+test.upstream) || !strings.Contains(record["err"], test.err) {
				t.Errorf("record %v", record)
			}
			p.stop()
		})
	}
}
