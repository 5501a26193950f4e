package proxy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"wireline/handler"
	"wireline/internal/testutil"
	tlstransport "wireline/internal/transport"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
	"wireline/tcptest"
)

func TestValidateTLS(t *testing.T) {
	ca := upstreamCA(t)
	certText, keyText := upstreamAuthority(t).Issue(t, "proxy")
	cert, key := writeFile(t, "cert.pem", certText), writeFile(t, "key.pem", keyText)
	cut := writeFile(t, "cut.pem", certText[:len(certText)-20])
	missing := filepath.Join(t.TempDir(), "missing.pem")
	const host, unix = "a.example:1", "unix:/run/s"
	for _, test := range []struct {
		name     string
		tls      proxy.TLS
		upstream string
		want     string // empty if all is well
	}{
		{"off", proxy.TLS{MinVersion: "1.2"}, unix, ""},
		{"on", proxy.TLS{Enable: true}, host, ""},
		{"all", proxy.TLS{Enable: true, CA: ca, Cert: cert, Key: key, ServerName: "b.example", MinVersion: "1.3"}, unix, ""},
		{"an address", proxy.TLS{Enable: true, ServerName: "::1"}, host, ""},
		{"of the upstream", proxy.TLS{Enable: true}, "127.0.0.1:1", ""},
		{"insecure unix", proxy.TLS{Enable: true, Insecure: true}, unix, ""},

		{"not on", proxy.TLS{CA: ca}, host, "TLS.CA " + ca + ": has no effect without TLS: set enable"},
		{"not on", proxy.TLS{Insecure: true}, host, "TLS.Insecure true: has no effect"},
		{"not on", proxy.TLS{ServerName: "x"}, host, "TLS.ServerName x: has no effect"},
		{"not on", proxy.TLS{MinVersion: "1.3"}, host, "TLS.MinVersion 1.3: has no effect"},
		{"version", proxy.TLS{Enable: true, MinVersion: "1.1"}, host, "TLS.MinVersion 1.1: must be 1.2 or 1.3"},
		{"no key", proxy.TLS{Enable: true, Cert: cert}, host, "TLS.Key : must be set, as cert is"},
		{"no cert", proxy.TLS{Enable: true, Key: key}, host, "TLS.Cert : must be set, as key is"},
		{"no file", proxy.TLS{Enable: true, CA: missing}, host, "TLS.CA " + missing + ": cannot be used: open"},
		{"no certificate", proxy.TLS{Enable: true, CA: key}, host, "TLS.CA " + key + ": cannot be used: contains no certificate"},
		{"cut off", proxy.TLS{Enable: true, CA: cut}, host, "TLS.CA " + cut + ": cannot be used: cut off"},
		{"cut off", proxy.TLS{Enable: true, Cert: cut, Key: key}, host, "TLS.Cert " + cut + ": cannot be used: cut off"},
		{"other key", proxy.TLS{Enable: true, Cert: ca, Key: key}, host, "TLS.Key " + key + ": cannot be used: tls: private key does not match"},
		{"ca, insecure", proxy.TLS{Enable: true, CA: ca, Insecure: true}, host, "TLS.CA " + ca + ": has no effect with insecure"},
		{"port", proxy.TLS{Enable: true, ServerName: "a:443"}, host, "TLS.ServerName a:443: must be a host name"},
		{"unix", proxy.TLS{Enable: true}, unix, "TLS.ServerName : must be set for the upstream unix:/run/s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := (&proxy.Proxy{Config: proxy.Config{Upstreams: []string{test.upstream}, TLS: test.tls}}).Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	cfg := proxy.Config{Upstreams: []string{host}, TLS: proxy.TLS{Enable: true}, SendProxy: "v2", Pool: proxy.PoolConfig{Size: 1}}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "Pool.Size 1: cannot go with send_proxy under TLS") {
		t.Errorf("a pool with headers: %v", err)
	}
}

// trusted is a configuration for upstreams called "upstream".
func trusted(t *testing.T) proxy.TLS {
	return proxy.TLS{Enable: true, CA: upstreamCA(t), ServerName: "upstream"}
}

// secure starts a proxy to one upstream, which speaks TLS as server says.
func secure(t *testing.T, server *tls.Config, cfg proxy.Config) *served {
	t.Helper()
	ln, name := newUpstream(t, "tcp")
	cfg.Upstreams = append(cfg.Upstreams, name)
	s := transports[0].serve(t, cfg)
	s.upstream = listenHandshakes(t, ln, server)
	return s
}

// relays checks that a pair relays, and returns the upstream's state.
func (s *served) relays() tls.ConnectionState {
	s.t.Helper()
	client, upstream := s.pair()
	client.Close()
	defer upstream.Close()
	return upstream.(*tls.Conn).ConnectionState()
}

// isReset checks that a client is reset.
func (s *served) isReset() {
	s.t.Helper()
	client, err := s.dial() // it may be reset already
	if err == nil {
		_, err = s.watch(client).Read(make([]byte, 1))
	}
	if ended(err) != "reset" {
		s.t.Errorf("the client sees %v, want a reset", err)
	}
}

// refused checks that a client is reset, and returns the error in its record.
func (s *served) refused() error {
	s.t.Helper()
	s.isReset()
	r := s.records.Next(s.t)
	if r.Reason != handler.ReasonNoUpstream || r.By != handler.ByServer || r.Err == nil {
		s.t.Fatalf("record %+v", r)
	}
	return r.Err
}

// An upstream is believed only with a certificate of the right name that the right authority
// has signed.
func TestTLSVerifies(t *testing.T) {
	stranger := testutil.NewAuthority(t)
	for _, test := range []struct {
		name   string
		change func(*proxy.TLS)
		cert   tls.Certificate
		want   string
	}{
		{"as it should be", func(*proxy.TLS) {}, issue(t, upstreamAuthority(t), "upstream"), ""},
		{"of another name", func(*proxy.TLS) {}, issue(t, upstreamAuthority(t), "other"), "certificate is valid for other, not upstream"},
		{"of a stranger", func(*proxy.TLS) {}, issue(t, stranger, "upstream"), "signed by unknown authority"},
		{"the system's", func(c *proxy.TLS) { c.CA = "" }, issue(t, upstreamAuthority(t), "upstream"), "signed by unknown authority"},
		{"the address", func(c *proxy.TLS) { c.ServerName = "" }, issue(t, upstreamAuthority(t), "upstream"), "127.0.0.1"},
		{"insecure", func(c *proxy.TLS) { *c = proxy.TLS{Enable: true, Insecure: true} }, issue(t, stranger, "other"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := proxy.Config{TLS: trusted(t)}
			test.change(&cfg.TLS)
			s := secure(t, &tls.Config{Certificates: []tls.Certificate{test.cert}}, cfg)
			if test.want == "" {
				s.relays()
				return
			}
			err := s.refused()
			name := s.proxy.Config.Upstreams[0]
			if !strings.HasPrefix(err.Error(), "TLS handshake with "+name+": ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q", err, test.want)
			}
			if u := s.proxy.Upstreams()[0]; u.Failures != 1 || u.Active != 0 {
				t.Errorf("the upstream: %+v", u)
			}
		})
	}
}

// The name that is asked for is the host in the upstream's address.
func TestTLSServerName(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	_, port, _ := net.SplitHostPort(name)
	if addrs, err := net.LookupHost("localhost"); err != nil || len(addrs) == 0 {
		t.Skip("no localhost here")
	}
	cfg := proxy.Config{Upstreams: []string{"localhost:" + port}, TLS: trusted(t)}
	cfg.TLS.ServerName = ""
	s := transports[0].serve(t, cfg)
	s.upstream = listenHandshakes(t, ln, &tls.Config{Certificates: []tls.Certificate{issue(t, upstreamAuthority(t), "localhost")}})
	if state := s.relays(); state.ServerName != "localhost" || state.Version != tls.VersionTLS13 {
		t.Errorf("asked for %q, version %x", state.ServerName, state.Version)
	}
}

func TestTLSMinVersion(t *testing.T) {
	server := upstreamConfig(t)
	server.MaxVersion = tls.VersionTLS12
	cfg := proxy.Config{TLS: trusted(t)}
	if state := secure(t, server, cfg).relays(); state.Version != tls.VersionTLS12 {
		t.Errorf("version %x", state.Version)
	}
	cfg.TLS.MinVersion = "1.3"
	if err := secure(t, server, cfg).refused(); !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("error %v", err)
	}
}

// The proxy shows its certificate. With TLS 1.3 a refusal comes after the handshake.
func TestTLSClientCertificate(t *testing.T) {
	certText, keyText := upstreamAuthority(t).Issue(t, "proxy")
	server := upstreamConfig(t)
	server.ClientAuth = tls.RequireAndVerifyClientCert
	server.ClientCAs = x509.NewCertPool()
	server.ClientCAs.AppendCertsFromPEM(upstreamAuthority(t).PEM)
	cfg := proxy.Config{TLS: trusted(t)}
	s := secure(t, server, cfg)
	s.isReset()
	if r := s.records.Next(t); r.By != handler.ByUpstream || r.Reason != handler.ReasonIOError || !strings.Contains(r.Err.Error(), "certificate required") {
		t.Errorf("by %s, %s, %v", r.By, r.Reason, r.Err)
	}
	cfg.TLS.Cert, cfg.TLS.Key = writeFile(t, "cert.pem", certText), writeFile(t, "key.pem", keyText)
	if state := secure(t, server, cfg).relays(); state.PeerCertificates[0].Subject.CommonName != "proxy" {
		t.Errorf("shown %v", state.PeerCertificates[0].Subject)
	}
}

// A handshake that fails, or takes too long, is a failed connect: the next upstream is tried,
// and after some the first one is down.
func TestTLSHandshakeFails(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"silent": func(conn net.Conn) { io.Copy(io.Discard, conn) },
		"plain":  func(conn net.Conn) { io.WriteString(conn, "220 ready\r\n"); io.Copy(io.Discard, conn) },
		"closes": func(conn net.Conn) { conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, badName := newUpstream(t, "tcp")
			go serveEach(bad, serve)
			s := secure(t, upstreamConfig(t), proxy.Config{
				Upstreams: []string{badName}, TLS: trusted(t), Balance: proxy.BalanceLeastConn, ConnectTimeout: 500 * time.Millisecond,
				Health: proxy.HealthConfig{Fall: 2, Retry: time.Hour},
			})
			for range 8 {
				client, upstream := s.pair()
				client.Close()
				receiveAll(t, upstream, "")
				upstream.Close()
				s.records.Next(t)
			}
			if u := s.proxy.Upstreams(); u[0].Up || u[0].Failures != 2 || u[0].Connections != 0 || !u[1].Up || u[1].Connections != 8 {
				t.Errorf("upstreams %+v", u)
			}
		})
	}
}

func serveEach(ln net.Listener, serve func(net.Conn)) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// A check makes the handshake too: an upstream that accepts connections and cannot speak TLS is
// not up.
func TestTLSHealth(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	go serveEach(ln, func(net.Conn) {})
	s := transports[0].serve(t, proxy.Config{
		Upstreams: []string{name}, TLS: trusted(t),
		Health: proxy.HealthConfig{Interval: 20 * time.Millisecond, Fall: 1, Rise: 1},
	})
	s.proxy.Start()
	eventually(t, "the upstream to be down", func() bool { return !s.proxy.Upstreams()[0].Up })
	time.Sleep(100 * time.Millisecond)
	if s.proxy.Upstreams()[0].Up {
		t.Error("it is up")
	}
}

// The header comes before the handshake, in plain. That of a check names no client.
func TestSendProxyBeforeTLS(t *testing.T) {
	for _, version := range []proxy.SendProxy{proxy.SendProxyV1, proxy.SendProxyV2} {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			ln, name := newUpstream(t, "tcp")
			s := transports[0].serve(t, proxy.Config{
				Upstreams: []string{name}, TLS: trusted(t), SendProxy: version,
				Health: proxy.HealthConfig{Interval: 50 * time.Millisecond, Fall: 1},
			})
			headers := make(chan string, 1<<10)
			s.upstream = listenHandshakes(t, proxyHeaders{ln, headers}, upstreamConfig(t))
			eventually(t, "a check", func() bool { return len(headers) > 1 })
			client := s.connect()
			send(t, client, "hello")
			want := client.LocalAddr().String()
			eventually(t, "the header", func() bool { return <-headers == want })
			eventually(t, "the client's connection", func() bool { // others are of checks
				conn := s.accept()
				b := make([]byte, 5)
				_, err := io.ReadFull(conn, b)
				return err == nil && string(b) == "hello"
			})
			if u := s.proxy.Upstreams()[0]; !u.Up || u.Failures != 0 {
				t.Errorf("upstream %+v", u)
			}
		})
	}
}

// proxyHeaders takes the PROXY headers off connections, and tells the clients that they name.
type proxyHeaders struct {
	net.Listener
	clients chan string
}

func (l proxyHeaders) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p := proxyproto.NewConn(conn)
	if h := p.ProxyHeader(); h == nil {
		l.clients <- "none"
	} else if h.SourceAddr == nil {
		l.clients <- "no client"
	} else {
		l.clients <- h.SourceAddr.String()
	}
	return p, nil
}

// The second connection to an upstream resumes the session of the first.
func TestTLSResumes(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, mode := range []string{"tcp", "unix", "unix, insecure"} {
			t.Run(tls.VersionName(version)+", "+mode, func(t *testing.T) {
				t.Parallel()
				server := upstreamConfig(t)
				server.MaxVersion = version
				network, _, _ := strings.Cut(mode, ",")
				ln, name := newUpstream(t, network)
				cfg := proxy.Config{Upstreams: []string{name}, TLS: trusted(t)}
				if mode == "unix, insecure" { // without a name
					cfg.TLS = proxy.TLS{Enable: true, Insecure: true}
				}
				s := transports[0].serve(t, cfg)
				s.upstream = listenHandshakes(t, ln, server)
				if s.relays().DidResume {
					t.Error("the first one resumes something")
				}
				for range 3 {
					if !s.relays().DidResume {
						t.Error("the session is not resumed")
					}
				}
			})
		}
	}
}

// Sessions outlive a Reconfigure that changes nothing about TLS, but not one that does, nor files
// that have changed.
func TestTLSResumesAfterReconfigure(t *testing.T) {
	ca := writeFile(t, "ca.pem", upstreamAuthority(t).PEM)
	serveFiles := func(t *testing.T) *served {
		return secure(t, upstreamConfig(t), proxy.Config{TLS: proxy.TLS{Enable: true, CA: ca, ServerName: "upstream"}})
	}
	serveOwn := func(t *testing.T) *served { return ownConfig(t, proxy.Config{}, func(*tls.Config) {}) }
	another := func(c *proxy.Config) { c.Upstreams = append(c.Upstreams, refusedPort(t)+" weight=0") }
	tests := []struct {
		name    string
		serve   func(t *testing.T) *served
		change  func(c *proxy.Config)
		resumes bool
	}{
		{"files, a timeout", serveFiles, func(c *proxy.Config) { c.IdleTimeout += time.Hour }, true},
		{"files, another upstream", serveFiles, another, true},
		{"files, the pools are emptied", serveFiles, func(c *proxy.Config) { c.KeepAlive.Count = 3 }, true},
		{"files, TLS", serveFiles, func(c *proxy.Config) { c.TLS.MinVersion = "1.3" }, false},
		{"files, their contents", serveFiles, func(*proxy.Config) {
			testutil.ReplaceFile(t, ca, append(testutil.NewAuthority(t).PEM, upstreamAuthority(t).PEM...))
		}, false},
		{"own, a timeout", serveOwn, func(c *proxy.Config) { c.IdleTimeout += time.Hour }, true},
		{"own, another upstream", serveOwn, another, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := test.serve(t)
			s.relays()
			for range 2 {
				if !s.relays().DidResume {
					t.Fatal("the session is not resumed")
				}
				s.reconfigure(test.change)
				if got := s.relays().DidResume; got != test.resumes {
					t.Fatalf("after Reconfigure, resumed: %v, want %v", got, test.resumes)
				}
				if !test.resumes {
					return
				}
			}
		})
	}
}

// Changed files are used for new connections; what cannot be used is not, and the log has it
// once.
func TestTLSReload(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	old, next := testutil.NewAuthority(t), testutil.NewAuthority(t)
	folder := t.TempDir()
	ca, cert, key := filepath.Join(folder, "ca"), filepath.Join(folder, "cert"), filepath.Join(folder, "key")
	replace := func(a *testutil.Authority, name string) {
		certText, keyText := a.Issue(t, name)
		testutil.ReplaceFile(t, ca, a.PEM)
		testutil.ReplaceFile(t, cert, certText)
		testutil.ReplaceFile(t, key, keyText)
	}
	var mu sync.Mutex
	upstream := issue(t, old, "upstream")
	server := &tls.Config{ClientAuth: tls.RequireAnyClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		return &upstream, nil
	}}
	replace(old, "first")
	log := &logBuffer{}
	ln, name := newUpstream(t, "tcp")
	s := transports[0].serve(t, proxy.Config{
		Upstreams: []string{name}, Health: proxy.HealthConfig{Fall: 1 << 20},
		TLS: proxy.TLS{Enable: true, CA: ca, Cert: cert, Key: key, ServerName: "upstream"},
	})
	s.proxy.Log = slog.New(slog.NewTextHandler(log, nil))
	s.upstream = listenHandshakes(t, ln, server)
	shown := func() string { return s.relays().PeerCertificates[0].Subject.CommonName }
	if got := shown(); got != "first" {
		t.Fatalf("shown %q", got)
	}

	testutil.ReplaceFile(t, ca, []byte("rubbish"))
	for begin := time.Now(); time.Since(begin) < 2500*time.Millisecond; {
		if got := shown(); got != "first" {
			t.Fatalf("shown %q with useless files", got)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if n := log.count("cannot be reloaded"); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}

	replace(next, "second")
	mu.Lock()
	upstream = issue(t, next, "upstream")
	mu.Unlock()
	time.Sleep(1100 * time.Millisecond)
	var state tls.ConnectionState
	eventually(t, "the new files", func() bool { // on a busy machine, one more handshake may not wait for them
		state = s.relays()
		return state.PeerCertificates[0].Subject.CommonName == "second"
	})
	if state.DidResume {
		t.Error("the session of the old files was resumed")
	}
	if n := log.count("certificates for upstreams reloaded"); n != 1 {
		t.Errorf("%d lines of a reload, want one:\n%s", n, log)
	}
}

// logBuffer is where a log is written to.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	logger.Flush(patience)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBuffer) count(text string) int { return strings.Count(l.String(), text) }

// A program that does not validate its configuration, and has no files, is told so by records.
func TestTLSWithoutFiles(t *testing.T) {
	x := &proxy.Proxy{Config: proxy.Config{
		Upstreams: []string{refusedPort(t)}, TLS: proxy.TLS{Enable: true, CA: filepath.Join(t.TempDir(), "missing")},
	}}
	ln, name := newUpstream(t, "tcp")
	defer ln.Close()
	x.Config.Upstreams = []string{name}
	defer x.Close()
	records := newRecords()
	x.OnRecord = records.Add
	x.Log = slog.New(slog.DiscardHandler)
	client, server := testutil.Pair(t)
	x.Handle(t.Context(), server)
	if _, err := client.Read(make([]byte, 1)); ended(err) != "reset" {
		t.Errorf("the client sees %v", err)
	}
	if r := records.Next(t); r.Err == nil || !strings.Contains(r.Err.Error(), "TLS.CA") {
		t.Errorf("record %+v", r)
	}
}

// A program has a configuration of its own.
func TestTLSConfig(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	var verified []tls.ConnectionState
	config := upstreamAuthority(t).Client("upstream")
	config.NextProtos = []string{"b"}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		verified = append(verified, state)
		return nil
	}
	x := &proxy.Proxy{TLSConfig: config, Config: proxy.Config{Upstreams: []string{name}}, Log: slog.New(slog.DiscardHandler)}
	records := newRecords()
	x.OnRecord = records.Add
	server := upstreamConfig(t)
	server.NextProtos = []string{"a", "b"}
	upstreams := listenHandshakes(t, ln, server)
	s := tcptest.NewServer(x)
	for i := range 2 {
		client := s.Dial()
		upstream := acceptFrom(t, upstreams)
		upstream.SetDeadline(time.Now().Add(patience))
		send(t, client, ">")
		receive(t, upstream, ">")
		if state := upstream.(*tls.Conn).ConnectionState(); state.NegotiatedProtocol != "b" || state.DidResume != (i > 0) {
			t.Errorf("protocol %q, resumed %v", state.NegotiatedProtocol, state.DidResume)
		}
		send(t, upstream, "<") // behind the ticket
		receive(t, client, "<")
		client.Close()
		receiveAll(t, upstream, "")
		upstream.Close()
		records.Next(t)
	}
	s.Close()
	if len(verified) != 2 || config.ClientSessionCache != nil {
		t.Errorf("verified %d times, want twice; the configuration is not ours to change", len(verified))
	}
	x = &proxy.Proxy{TLSConfig: config, Config: proxy.Config{Upstreams: []string{name}, SendProxy: "v2", Pool: proxy.PoolConfig{Size: 1}}}
	if err := x.Validate(); err == nil || !strings.Contains(err.Error(), "Pool.Size") {
		t.Errorf("a pool with headers: %v", err)
	}
}

// An upstream is not silent while a record is on its way, though that has no plaintext yet.
func TestReuseWaitsForARecord(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	cfg := proxy.Config{
		Upstreams: []string{name}, TLS: trusted(t), IdleTimeout: time.Hour,
		Pool: proxy.PoolConfig{Size: 1, Reuse: true, ReuseQuiet: 400 * time.Millisecond},
	}
	s := transports[0].serve(t, cfg)
	s.upstream = listenHandshakes(t, ln, upstreamConfig(t))
	upstream := s.accept().(*tls.Conn)
	s.awaitPool(1)
	client := s.connect()
	send(t, client, "get")
	receive(t, upstream, "get")
	send(t, upstream, "value ")
	receive(t, client, "value ")
	closeWrite(t, client)

	// The record is made in memory, and sent bit by bit.
	record := recordOf(t, upstream, strings.Repeat("x", 400))
	for len(record) > 0 {
		n := min(len(record), 50)
		upstream.NetConn().Write(record[:n])
		record = record[n:]
		time.Sleep(100 * time.Millisecond)
	}
	receiveAll(t, client, strings.Repeat("x", 400))
}

// recordOf returns what a server would send.
func recordOf(t *testing.T, server *tls.Conn, text string) []byte {
	t.Helper()
	base := tlstransport.Of(server).Base()
	kept := &keeper{Conn: base}
	tlstransport.Of(server).SetBase(kept)
	defer tlstransport.Of(server).SetBase(base)
	if _, err := io.WriteString(server, text); err != nil {
		t.Fatal(err)
	}
	return kept.text.Bytes()
}

// keeper is a connection that keeps what is written.
type keeper struct {
	net.Conn
	text bytes.Buffer
}

func (k *keeper) Write(p []byte) (int, error) { return k.text.Write(p) }

// Files that are gone when the first client comes were read before.
func TestTLSFilesAreReadAtTheStart(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{name}, TLS: trusted(t)}, Log: slog.New(slog.DiscardHandler)}
	defer x.Close()
	x.Start()
	testutil.ReplaceFile(t, x.Config.TLS.CA, nil)
	time.Sleep(1100 * time.Millisecond)
	client, server := testutil.Pair(t)
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		x.Handle(t.Context(), server)
	}()
	upstream := acceptFrom(t, listenHandshakes(t, ln, upstreamConfig(t)))
	defer upstream.Close()
	send(t, upstream, "hello")
	receive(t, client, "hello")
	client.Close()
	receiveAll(t, upstream, "")
	upstream.Close()
	<-handled
}

// A client whose upstream is silent in the handshake does not hold up a drain.
func TestDrainDuringTheHandshake(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	go serveEach(ln, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, TLS: trusted(t), ConnectTimeout: time.Minute})
	client := s.connect()
	eventually(t, "the client", func() bool { return s.proxy.Len() == 1 })
	began := time.Now()
	if err := s.shutdown(200 * time.Millisecond); !errors.Is(err, tcp.ErrCut) {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(began); took > slack {
		t.Errorf("took %v", took)
	}
	receiveReset(t, client)
	if r := s.records.Next(t); r.Reason != handler.ReasonCut || s.proxy.Upstreams()[0].Failures != 0 {
		t.Errorf("reason %s, upstream %+v; want a cut", r.Reason, s.proxy.Upstreams()[0])
	}
}

// A connection that waits in a pool is closed with a close_notify.
func TestTLSEndOfAPool(t *testing.T) {
	s := secure(t, upstreamConfig(t), proxy.Config{TLS: trusted(t), Pool: proxy.PoolConfig{Size: 1}})
	conn := s.accept()
	s.awaitPool(1)
	s.server.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a waiting connection ends with %v", err)
	}
}
