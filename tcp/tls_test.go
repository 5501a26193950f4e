package tcp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// newCertificate puts a certificate for name into the files of cfg.
func newCertificate(t *testing.T, a *testutil.Authority, cfg *tcp.TLSFiles, name string) {
	t.Helper()
	cert, key := a.Issue(t, name)
	testutil.ReplaceFile(t, cfg.Cert, cert)
	testutil.ReplaceFile(t, cfg.Key, key)
}

// tlsFiles is a configuration whose files have a certificate for "first".
func tlsFiles(t *testing.T, a *testutil.Authority) tcp.Config {
	t.Helper()
	dir := t.TempDir()
	cfg := tcp.Config{TLS: tcp.TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}}
	newCertificate(t, a, &cfg.TLS, "first")
	return cfg
}

// dialTLS connects with a handshake.
func dialTLS(t *testing.T, addr string, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn := tls.Client(dial(t, "tcp", addr), cfg)
	err := conn.Handshake()
	return conn, err
}

func mustDialTLS(t *testing.T, addr string, cfg *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := dialTLS(t, addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestTLS(t *testing.T) {
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	cfg.TLS.ALPN = []string{"echo/2", "echo/1"}
	s := start(t, cfg, echo())
	client := a.Client("first")
	client.NextProtos = []string{"echo/1", "echo/2"}
	conn := mustDialTLS(t, s.Addr, client)
	exchange(t, conn, "hello\n")
	if p := conn.ConnectionState().NegotiatedProtocol; p != "echo/2" {
		t.Errorf("protocol %q, want the server's first", p)
	}
	// Half-close is an end of the stream inside, each way by itself.
	send(t, conn, "last\n")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	receiveAll(t, conn, "last\n") // io.EOF, so a close_notify: without one it is ErrUnexpectedEOF from tls 1.3 on

	client.NextProtos = []string{"other"}
	if _, err := dialTLS(t, s.Addr, client); err == nil {
		t.Error("a client that speaks none of the protocols is served")
	}
	old := a.Client("first")
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	if _, err := dialTLS(t, s.Addr, old); err == nil {
		t.Error("TLS 1.1 is served")
	}
	eventually(t, "both are counted", func() bool { return s.TCP.Stats().FailedHandshakes == 2 })
}

func TestTLSMinVersion(t *testing.T) {
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	cfg.TLS.MinVersion = "1.3"
	s := start(t, cfg, echo())
	client := a.Client("first")
	exchange(t, mustDialTLS(t, s.Addr, client), "hello\n")
	client.MaxVersion = tls.VersionTLS12
	if _, err := dialTLS(t, s.Addr, client); err == nil {
		t.Error("TLS 1.2 is served")
	}
}

// The second connection need not do everything again.
func TestTLSTickets(t *testing.T) {
	for _, clients := range []bool{false, true} { // need certificates
		a := testutil.NewAuthority(t)
		cfg := tlsFiles(t, a)
		client := a.Client("first")
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if clients {
			withClientCA(t, a, &cfg.TLS, client)
		}
		s := start(t, cfg, echo())
		for i := range 2 {
			conn := mustDialTLS(t, s.Addr, client)
			exchange(t, conn, "hello\n") // the ticket comes before the echo
			if resumed := conn.ConnectionState().DidResume; resumed != (i == 1) {
				t.Errorf("client certificates %v, connection %d: resumed %v", clients, i, resumed)
			}
			conn.Close()
		}
	}
}

// withClientCA has the server want certificates of a, and client have one.
func withClientCA(t *testing.T, a *testutil.Authority, cfg *tcp.TLSFiles, client *tls.Config) {
	t.Helper()
	cfg.ClientCA = filepath.Join(filepath.Dir(cfg.Cert), "clients.pem")
	testutil.ReplaceFile(t, cfg.ClientCA, a.PEM)
	cert, err := tls.X509KeyPair(a.Issue(t, "client"))
	if err != nil {
		t.Fatal(err)
	}
	client.Certificates = []tls.Certificate{cert}
}

// Handlers of each kind see the result of the handshake in the context.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	seen := make(chan *tls.ConnectionState, 1)
	look := func(ctx context.Context, conn net.Conn) {
		defer conn.Close()
		seen <- tcp.TLSState(ctx)
	}
	for name, h := range map[string]handler.Handler{
		"own":  rawContext(look),
		"func": handler.Func(look),
		"frames": &handler.Frames{OnOpen: func(c *handler.Client) error {
			seen <- c.TLS()
			return handler.ErrQuit
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
			cfg := tlsFiles(t, a)
			cfg.TLS.ALPN = []string{"echo/1"}
			good := a.Client("first")
			good.NextProtos = cfg.TLS.ALPN
			withClientCA(t, a, &cfg.TLS, good)
			s := start(t, cfg, h)
			mustDialTLS(t, s.Addr, good)
			switch state := testutil.Await(t, "the state", seen); {
			case state == nil:
				t.Error("the handler sees no TLS")
			case !state.HandshakeComplete || state.NegotiatedProtocol != "echo/1" || state.ServerName != "first":
				t.Errorf("the handler sees %+v", state)
			case len(state.VerifiedChains) != 1 || state.PeerCertificates[0].Subject.CommonName != "client":
				t.Errorf("the handler sees the certificates %v", state.PeerCertificates)
			}
			foreign := a.Client("first")
			withClientCA(t, other, &tcp.TLSFiles{Cert: filepath.Join(t.TempDir(), "x")}, foreign)
			for name, client := range map[string]*tls.Config{"none": a.Client("first"), "another's": foreign} {
				conn, err := dialTLS(t, s.Addr, client)
				if err == nil { // TLS 1.3: the answer comes after the client's part
					_, err = conn.Read(make([]byte, 1))
				}
				if err == nil || !strings.Contains(err.Error(), "remote error: tls:") {
					t.Errorf("certificate %s: %v, want the server's alert", name, err)
				}
			}

			s = start(t, tcp.Config{}, h)
			dial(t, "tcp", s.Addr)
			if state := testutil.Await(t, "the state", seen); state != nil {
				t.Errorf("without TLS the handler sees %+v", state)
			}
		})
	}
}

// Changed files are used from the next second on; connections there are go on, and
// files that are broken change nothing.
func TestTLSReload(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	var log journal
	cfg.Log = log.logger()
	s := start(t, cfg, echo())
	live := mustDialTLS(t, s.Addr, a.Client("first"))
	exchange(t, live, "hello\n")

	newCertificate(t, a, &cfg.TLS, "second")
	eventually(t, "the new certificate is used", func() bool {
		_, err := dialTLS(t, s.Addr, a.Client("second"))
		return err == nil
	})
	exchange(t, live, "still here\n")

	testutil.ReplaceFile(t, cfg.TLS.Cert, []byte("half a certif"))
	eventually(t, "the broken one is noticed", func() bool {
		mustDialTLS(t, s.Addr, a.Client("second"))
		return len(log.find("certificates cannot be reloaded, keeping the previous ones")) == 1
	})
	newCertificate(t, a, &cfg.TLS, "third")
	eventually(t, "the next one is used", func() bool {
		_, err := dialTLS(t, s.Addr, a.Client("third"))
		return err == nil
	})
	exchange(t, live, "still here\n")
}

// ServerConfig is for handshakes that no server makes. Its files are reloaded, too.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	a := testutil.NewAuthority(t)
	files := tlsFiles(t, a).TLS
	config, err := files.ServerConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	defer ln.Close()
	handshake := func(name string) error {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := ln.Accept(); err == nil {
				tls.Server(conn, config).Handshake()
				conn.Close()
			}
		}()
		conn, err := tls.Dial("tcp", ln.Addr().String(), a.Client(name))
		if err == nil {
			conn.Close()
		}
		<-done
		return err
	}
	if err := handshake("first"); err != nil {
		t.Fatal(err)
	}
	newCertificate(t, a, &files, "second")
	eventually(t, "the new certificate is used", func() bool { return handshake("second") == nil })

	for _, files := range []tcp.TLSFiles{{}, {Cert: files.Cert}, {Cert: files.Cert, Key: "nosuch"}, {Cert: files.Cert, Key: files.Key, MinVersion: "1.1"}} {
		if _, err := files.ServerConfig(nil); err == nil {
			t.Errorf("%+v: no error", files)
		}
	}
}

// A client that does not make the handshake is closed in time, and does not hold up others.
func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	a := testutil.NewAuthority(t)
	testutil.InTime(t, 500*time.Millisecond, func(limit time.Duration) error {
		cfg := tlsFiles(t, a)
		cfg.HandshakeTimeout = limit
		s := start(t, cfg, echo())
		began := time.Now()
		var silent []net.Conn
		for range 500 {
			silent = append(silent, dial(t, "tcp", s.Addr))
		}
		io.WriteString(silent[0], "\x16\x03\x01") // the beginning of a hello; fails if it is too late
		begin := time.Now()
		good, err := dialTLS(t, s.Addr, a.Client("first"))
		if time.Since(begin) >= limit {
			s.Close()
			return testutil.ErrLate
		}
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, good, "hello\n")
		for _, conn := range silent {
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("a silent client sees %v", err)
			}
		}
		if took := time.Since(began); took < limit*9/10 {
			t.Errorf("cut after %v", took)
		}
		eventually(t, "they are counted", func() bool { return s.TCP.Stats().FailedHandshakes == 500 })
		return nil
	})
}

// A server that stops does not wait for handshakes, and what is served drains as
// without TLS.
func TestShutdownWithTLS(t *testing.T) {
	a := testutil.NewAuthority(t)
	g := newGate(t)
	s := start(t, tlsFiles(t, a), echoAfter(g.work))
	silent := dial(t, "tcp", s.Addr)
	idle, busy := mustDialTLS(t, s.Addr, a.Client("first")), mustDialTLS(t, s.Addr, a.Client("first"))
	exchange(t, idle, "hello\n")
	send(t, busy, "hold\n")
	testutil.Await(t, "the frame", g.holding)
	done := make(chan error, 1)
	go func() { done <- s.TCP.Shutdown(within(t, patience)) }()
	receiveAll(t, idle, "")
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client without a handshake sees %v", err)
	}
	g.open()
	receiveAll(t, busy, "hold\n")
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TLS comes after the header, whose addresses the handler sees.
func TestTLSBehindProxyHeader(t *testing.T) {
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	cfg.ProxyProtocol, cfg.ProxyProtocolTrusted = tcp.ProxyProtocolRequired, []string{"127.0.0.1"}
	s := start(t, cfg, whoami())
	plain := dial(t, "tcp", s.Addr)
	send(t, plain, formatted(t, 2, from4, to4))
	conn := tls.Client(plain, a.Client("first"))
	receive(t, conn, "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\n")
	exchange(t, conn, "hello\n")
}

// The functions of a tls.Config get a context with the values of the connection's, which ends
// with the timeout of the handshake.
func TestHandshakeContext(t *testing.T) {
	type key struct{}
	a := testutil.NewAuthority(t)
	cert, pem := a.Issue(t, "first")
	pair, err := tls.X509KeyPair(cert, pem)
	if err != nil {
		t.Fatal(err)
	}
	contexts := make(chan context.Context, 1)
	srv := &tcp.Server{
		Handler: echo(),
		Config:  tcp.Config{HandshakeTimeout: time.Hour},
		TLSConfig: &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			contexts <- hello.Context()
			return &pair, nil
		}},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	result := serve(context.WithValue(t.Context(), key{}, "value"), t, srv, ln)
	conn := mustDialTLS(t, ln.Addr().String(), a.Client("first"))
	defer conn.Close()
	ctx := testutil.Await(t, "the context", contexts)
	if v := ctx.Value(key{}); v != "value" {
		t.Errorf("the value is %v", v)
	}
	if due, ok := ctx.Deadline(); !ok || time.Until(due) > time.Hour || time.Until(due) < time.Minute {
		t.Errorf("the deadline is %v, %v", due, ok)
	}
	shutdown(t, srv)
	result()
}

// A configuration of the program's own is taken as it is.
func TestTLSConfigOfOnesOwn(t *testing.T) {
	a := testutil.NewAuthority(t)
	cert, err := tls.X509KeyPair(a.Issue(t, "own"))
	if err != nil {
		t.Fatal(err)
	}
	s := tcptest.NewUnstartedServer(echo())
	s.TCP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Serve(tcptest.Listen())
	t.Cleanup(s.Close)
	conn := tls.Client(s.Dial(), a.Client("own"))
	defer conn.Close()
	exchange(t, conn, "hello\n")
}

// What cannot be used is said at the start, and names the key.
func TestTLSValidate(t *testing.T) {
	a := testutil.NewAuthority(t)
	good := tlsFiles(t, a).TLS
	junk := filepath.Join(t.TempDir(), "junk.pem")
	testutil.ReplaceFile(t, junk, []byte("junk"))
	others := tlsFiles(t, a).TLS.Key
	for _, test := range []struct {
		change func(c *tcp.TLSFiles)
		want   string
	}{
		{func(c *tcp.TLSFiles) { c.Key = "" }, "TLS.Key : must be set"},
		{func(c *tcp.TLSFiles) { c.Cert = "" }, "TLS.Cert : must be set"},
		{func(c *tcp.TLSFiles) { c.Cert = junk }, "TLS.Cert " + junk + ": cannot be used: contains no certificate in PEM"},
		{func(c *tcp.TLSFiles) { c.Cert = "missing" }, "TLS.Cert missing: cannot be used: open missing"},
		{func(c *tcp.TLSFiles) { c.Key = "missing" }, "TLS.Key missing: cannot be used: open missing"},
		{func(c *tcp.TLSFiles) { c.Key = junk }, "TLS.Key " + junk + ": cannot be used: tls: failed to find any PEM data"},
		{func(c *tcp.TLSFiles) { c.Key = c.Cert }, "TLS.Key " + good.Cert + ": cannot be used: tls: found a certificate rather than a key"},
		{func(c *tcp.TLSFiles) { c.Key = others }, "TLS.Key " + others + ": cannot be used: tls: private key does not match public key"},
		{func(c *tcp.TLSFiles) { c.ClientCA = junk }, "TLS.ClientCA " + junk + ": cannot be used: contains no certificate in PEM"},
		{func(c *tcp.TLSFiles) { *c = tcp.TLSFiles{ClientCA: junk} }, "TLS.ClientCA " + junk + ": needs a certificate of the server: set cert and key"},
		{func(c *tcp.TLSFiles) { *c = tcp.TLSFiles{ALPN: []string{"h2"}} }, "TLS.ALPN [h2]: needs a certificate of the server: set cert and key"},
		{func(c *tcp.TLSFiles) { *c = tcp.TLSFiles{MinVersion: "1.3"} }, "TLS.MinVersion 1.3: needs a certificate of the server: set cert and key"},
		{func(c *tcp.TLSFiles) { c.MinVersion = "1.1" }, "TLS.MinVersion 1.1: must be 1.2 or 1.3"},
	} {
		cfg := tcp.Config{Address: "127.0.0.1:0", TLS: good}
		test.change(&cfg.TLS)
		_, err := tcp.Listen(t.Context(), &cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", cfg.TLS, err, test.want)
		}
		// With a listener of the user, Serve reports it.
		if cfg.TLS.MinVersion == "" && (cfg.TLS.Cert == junk || cfg.TLS.ClientCA == junk && cfg.TLS.Cert != "") {
			srv := &tcp.Server{Config: cfg, Handler: echo()}
			if err := srv.Serve(context.Background(), listenTCP(t)); err == nil || errors.Is(err, tcp.ErrServerClosed) {
				t.Errorf("%+v: Serve returns %v", cfg.TLS, err)
			}
		}
	}
}

// Files are read again also when nothing but what is in them has changed: copies keep
// their times, and keys of one kind their size.
func TestTLSReloadOfTheSameTimeAndSize(t *testing.T) {
	t.Parallel()
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	files := []string{cfg.TLS.Cert, cfg.TLS.Key}
	when := time.Unix(1_000_000_000, 0)
	stamp := func() (sizes [2]int64) {
		for i, file := range files {
			if err := os.Chtimes(file, when, when); err != nil {
				t.Fatal(err)
			}
			sizes[i] = sizeOf(t, file)
		}
		return sizes
	}
	before := stamp()
	s := start(t, cfg, echo())
	mustDialTLS(t, s.Addr, a.Client("first"))
	for range 1000 { // a signature is a few bytes shorter now and then
		dir := t.TempDir()
		next := tcp.TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
		newCertificate(t, a, &next, "fifth")
		if sizeOf(t, next.Cert) == before[0] {
			// In place, so that the file is the same in every respect.
			for i, file := range []string{next.Cert, next.Key} {
				text, _ := os.ReadFile(file)
				if err := os.WriteFile(files[i], text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			break
		}
	}
	if after := stamp(); after != before {
		t.Fatalf("sizes %v, want %v", after, before)
	}
	eventually(t, "the new certificate is used", func() bool {
		_, err := dialTLS(t, s.Addr, a.Client("fifth"))
		return err == nil
	})
}

func sizeOf(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// damage is a PEM file of two certificates with one of them not whole, in each way that a
// file may come to that.
func damage(t *testing.T, first, second []byte) map[string][]byte {
	t.Helper()
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	spoilt := bytes.Replace(second, []byte("\nMII"), []byte("\nAAA"), 1)
	if bytes.Equal(spoilt, second) {
		t.Fatal("nothing is spoilt")
	}
	return map[string][]byte{
		"cut in the end line":  join(first, second[:len(second)-10]),
		"cut in the midst":     join(first, second[:len(second)/2]),
		"cut in the beginning": join(first, second[:5]),
		"cut before another":   join(second[:len(second)/2], []byte("\n"), first),
		"garbage in a line":    join(first, bytes.Replace(second, []byte("\nMII"), []byte("\n???"), 1)),
		"no certificate in it": join(first, spoilt),
		"that one first":       join(spoilt, first),
	}
}

// A damaged certificate is an error, and is not skipped silently: the server would refuse
// the clients whose certificates it has signed.
func TestDamagedCertificates(t *testing.T) {
	a, b := testutil.NewAuthority(t), testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	cfg.Address = "127.0.0.1:0"
	cfg.TLS.ClientCA = filepath.Join(t.TempDir(), "clients.pem")
	chain, err := os.ReadFile(cfg.TLS.Cert)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what, want string) {
		t.Helper()
		ln, err := tcp.Listen(t.Context(), &cfg)
		switch {
		case err == nil && want != "":
			t.Errorf("%s: no error", what)
		case err != nil && (want == "" || !strings.Contains(err.Error(), want+" cannot be used: ")):
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			ln.Close()
		}
	}
	for what, text := range damage(t, b.PEM, a.PEM) {
		testutil.ReplaceFile(t, cfg.TLS.ClientCA, text)
		try("authorities, "+what, "TLS.ClientCA "+cfg.TLS.ClientCA+":")
	}
	testutil.ReplaceFile(t, cfg.TLS.ClientCA, bytes.Join([][]byte{[]byte("# the old one\n"), a.PEM, []byte("\n# the new one\n"), b.PEM, []byte(" \r\n")}, nil))
	try("authorities with remarks", "")
	for what, text := range damage(t, chain, b.PEM) {
		testutil.ReplaceFile(t, cfg.TLS.Cert, text)
		try("chain, "+what, "TLS.Cert "+cfg.TLS.Cert+":")
	}
	testutil.ReplaceFile(t, cfg.TLS.Cert, append(chain, b.PEM...))
	try("a whole chain", "")
}

// A bundle of authorities that is damaged while the server runs changes nothing.
func TestTLSReloadOfDamagedAuthorities(t *testing.T) {
	t.Parallel()
	a, b := testutil.NewAuthority(t), testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	good := a.Client("first")
	withClientCA(t, a, &cfg.TLS, good)
	var log journal
	cfg.Log = log.logger()
	s := start(t, cfg, echo())
	exchange(t, mustDialTLS(t, s.Addr, good), "hello\n")
	testutil.ReplaceFile(t, cfg.TLS.ClientCA, append(b.PEM, a.PEM[:len(a.PEM)-10]...))
	eventually(t, "it is noticed", func() bool {
		exchange(t, mustDialTLS(t, s.Addr, good), "still here\n")
		return len(log.find("certificates cannot be reloaded, keeping the previous ones")) == 1
	})
}

// Bytes that are no TLS cost one connection.
func TestTLSFromJunk(t *testing.T) {
	a := testutil.NewAuthority(t)
	s := start(t, tlsFiles(t, a), echo())
	for _, junk := range []string{"hello\n", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\x16\x03\x01\xff\xff", 10000)} {
		conn := dial(t, "tcp", s.Addr)
		io.WriteString(conn, junk)
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	exchange(t, mustDialTLS(t, s.Addr, a.Client("first")), "hello\n")
}

// What is no TLS after a good handshake is the client's affair: a record, and no alarm.
func TestTLSJunkAfterTheHandshake(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	a := testutil.NewAuthority(t)
	h := echo()
	records := make(chan handler.Record, 1)
	h.OnRecord = func(r handler.Record) { records <- r }
	s := start(t, tlsFiles(t, a), h)
	conn := mustDialTLS(t, s.Addr, a.Client("first"))
	exchange(t, conn, "hello\n")
	send(t, conn.NetConn(), "\x17\x03\x01\x00\x05junk!")
	r := testutil.Await(t, "the record", records)
	if r.By != handler.ByClient || !netconn.IsDisconnect(r.Err) {
		t.Errorf("by %s, %s, %v", r.By, r.Reason, r.Err)
	}
}
