//go:build unix

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wireline/internal/testutil"
)

func TestProxyCurl(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, curl)
	size := 32 << 20
	if testutil.Reduced() {
		size = 8 << 20
	}
	small, large := "hello\n", string(randomBytes(size))
	p := startProxy(t, startWeb(t, map[string]string{"small": small, "large": large}))
	get := func(args ...string) string {
		t.Helper()
		return runGood(t, "", path, append([]string{"-sS", "--fail", "--noproxy", "*"}, args...)...)
	}
	url := "http://" + p.addr + "/"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"small", []string{url + "small"}, small},
		{"large", []string{url + "large"}, large},
		{"limited", []string{"--limit-rate", "50M", url + "large"}, large},
		{"HTTP/1.0", []string{"--http1.0", "-H", "Connection: close", url + "large"}, large},
		{"two on one connection", []string{url + "small", url + "large", "-w", "%{num_connects}"}, small + "1" + large + "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := get(test.args...); got != test.want {
				t.Errorf("%d bytes %s, want %d bytes %s", len(got), abridged(got), len(test.want), abridged(test.want))
			}
		})
	}
	// curl stops reading after Content-Length bytes. A client that does not count them sees
	// the end of the connection.
	conn := p.dial()
	send(t, conn, "GET /large HTTP/1.0\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if err != nil || body != large || !strings.Contains(head, "\r\nConnection: close") {
		t.Errorf("answered %q and %d bytes, %v; want %d bytes and the end", head, len(body), err, len(large))
	}
	conn.Close()
	p.stopQuiet()
	if record := p.await("peer", conn.LocalAddr().String()); record["by"] != "upstream" || record["reason"] != "fin" {
		t.Errorf("record %v, want the upstream's FIN", record)
	}
}

// curl closes a connection with TLS before it has read the upstream's close_notify, and its system
// resets what arrives then. It has got everything: the record says fin.
func TestProxyCurlTLS(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path, a := need(t, curl), newAuthority(t)
	cert, err := tls.X509KeyPair(a.Issue(t, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") })
	plain := httptest.NewServer(page)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(page)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	secure.StartTLS()
	defer secure.Close()
	for name, p := range map[string]*process{
		"passed on":  startProxy(t, secure.Listener.Addr().String()),
		"terminated": startProxy(t, plain.Listener.Addr().String(), a.serverArgs()...),
	} {
		t.Run(name, func(t *testing.T) {
			const many = 30
			_, port := splitAddr(p.addr)
			for range many {
				got := runGood(t, "", path, "-sS", "--fail", "--noproxy", "*", "--ipv4", "--cacert", a.file("ca.pem"), "https://localhost:"+port+"/")
				if got != "hello\n" {
					t.Errorf("got %q", got)
				}
			}
			p.stopQuiet()
			records := p.find("msg", "connection")
			if len(records) != many {
				t.Errorf("%d records", len(records))
			}
			// A curl that closes before it has read all of TLS sends a reset and no FIN, which
			// happens on a busy machine.
			resets := 0
			for _, r := range records {
				switch r["reason"] {
				case "fin":
				case "reset":
					resets++
				default:
					t.Errorf("record %v", r)
				}
			}
			if resets > many/3 {
				t.Errorf("%d of %d were recorded as resets", resets, many)
			}
		})
	}
}

func TestProxyWrk(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, wrk)
	for _, size := range []int{100, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := startProxy(t, startWeb(t, map[string]string{"file": strings.Repeat("x", size)}), "--log.connections=false")
			out := runGood(t, "", path, "-t", "1", "-c", "20", "-d", "1s", "http://"+p.addr+"/file")
			if !regexp.MustCompile(`(?m)^ *[1-9]\d* requests in `).MatchString(out) || strings.Contains(out, "errors") || strings.Contains(out, "Non-2xx") {
				t.Errorf("printed\n%s", out)
			}
			p.stopQuiet()
		})
	}
}

// startWeb starts nginx with these files.
func startWeb(t *testing.T, files map[string]string) (addr string) {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	startNginx(t, "", fmt.Sprintf(`http {
		access_log off;
		sendfile on;
		client_body_temp_path body;
		proxy_temp_path proxy;
		fastcgi_temp_path fastcgi;
		uwsgi_temp_path uwsgi;
		scgi_temp_path scgi;
		server { listen 127.0.0.1:%s; root %q; }
	}`, port, root))
	return "127.0.0.1:" + port
}

// startNginx starts nginx as a single process, in a folder of its own.
func startNginx(t *testing.T, modules, conf string) *process {
	t.Helper()
	server := need(t, nginx)
	folder := t.TempDir()
	conf = modules + `
		daemon off;
		master_process off;
		pid pid;
		error_log stderr notice;
		events { worker_connections 1024; }
	` + conf
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, server, "-e", "stderr", "-p", folder, "-c", file)
	p.awaitIn(&p.stderr, "event method", 1) // it listens when it prints this
	return p
}

// startNginxProxy starts nginx as a proxy to upstream, with these directives.
func startNginxProxy(t *testing.T, upstream string, directives ...string) (p *process, addr string) {
	t.Helper()
	addr = "127.0.0.1:" + freePort(t)
	return startNginxStream(t, fmt.Sprintf("listen %s; proxy_pass %s; %s", addr, upstream, strings.Join(directives, " "))), addr
}

// startNginxStream starts nginx's stream module with one server.
func startNginxStream(t *testing.T, server string) *process {
	t.Helper()
	const module = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(module); err != nil {
		tool{name: module, pkg: "libnginx-mod-stream"}.missing(t)
	}
	return startNginx(t, "load_module "+module+";", "stream { server { "+server+" } }")
}

// HAProxy as an upstream answers with the client's address that the proxy has sent.
func TestProxySendsHeader(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			path := need(t, curl)
			p := startProxy(t, startHAProxy(t), "--proxy.send_proxy="+version)
			out := runGood(t, "", path, "-sS", "--fail", "--noproxy", "*", "http://"+p.addr+"/", "-w", `%{local_ip}:%{local_port}`)
			if told, is, _ := strings.Cut(out, "\n"); told != is || is == "" {
				t.Errorf("the upstream received %q as the client, want %q", told, is)
			}
			p.stopQuiet()
		})
	}
}

// startHAProxy starts HAProxy, which requires the header of the PROXY protocol and answers
// with the client's address in it.
func startHAProxy(t *testing.T) (addr string) {
	t.Helper()
	_, addr = runHAProxy(t, `
defaults
	mode http
	timeout client 20s
	timeout connect 20s
	timeout server 20s
frontend test
	bind fd@0 accept-proxy
	http-request return status 200 content-type text/plain lf-string "%ci:%cp\n"
`)
	return addr
}

// runHAProxy starts HAProxy with a configuration that binds fd@0. HAProxy does not report when
// it listens, so it inherits a listening socket as its standard input.
func runHAProxy(t *testing.T, conf string) (p *process, addr string) {
	t.Helper()
	server := need(t, haproxy)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return launchWith(t, socket, server, "-db", "-f", file), ln.Addr().String()
}
