package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wireline/client"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// serveLoopback serves the test protocol over sockets.
func serveLoopback(t *testing.T, set func(*tcp.Server)) *tcptest.Server {
	t.Helper()
	x := &site{lines: make(chan string, 100_000)}
	s := tcptest.NewUnstartedServer(&handler.Frames{OnFrame: x.serve})
	s.TCP.Config.Log = quiet
	if set != nil {
		set(s.TCP)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func newDialer(t *testing.T) *client.Dialer {
	d := &client.Dialer{ID: idOf, Log: quiet}
	t.Cleanup(func() { d.Close() })
	return d
}

// Over each kind of connection, requests are answered, also large ones and many at a time, and Close
// closes in good order.
func TestTransports(t *testing.T) {
	authority := testutil.NewAuthority(t)
	cert, key := authority.Issue(t, "localhost")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	secure := func(s *tcp.Server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}} }
	wrapping := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &testutil.WrappedConn{Conn: conn}, nil
	}
	for name, test := range map[string]struct {
		server func(*tcp.Server)
		set    func(*client.Dialer)
	}{
		"tcp":     {nil, func(*client.Dialer) {}},
		"wrapped": {nil, func(d *client.Dialer) { d.DialContext = wrapping }},
		"unix": {func(s *tcp.Server) {
			s.Config.Network, s.Config.Address = "unix", testutil.SocketPath(t)
		}, func(*client.Dialer) {}},
		"tls": {secure, func(d *client.Dialer) { d.TLS = authority.Client("localhost") }},
		"tls wrapped": {secure, func(d *client.Dialer) {
			d.TLS, d.DialContext = authority.Client("localhost"), wrapping
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "unix" && runtime.GOOS == "windows" {
				t.Skip("no unix sockets in tests on Windows")
			}
			s := serveLoopback(t, test.server)
			d := newDialer(t)
			test.set(d)
			network := "tcp"
			if s.TCP.Config.Network == "unix" {
				network = "unix"
			}
			c, err := d.Dial(t.Context(), network, s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			var requests sync.WaitGroup
			for i := range 20 {
				text := fmt.Sprintf("%0*d", 1+i*3000, i)
				requests.Go(func() { wantAnswer(t, c, fmt.Sprintf("%d echo %s", i, text), fmt.Sprintf("%d %s", i, text)) })
			}
			requests.Wait()
			if s := c.Status(); s.RemoteAddr == nil || s.LocalAddr == nil {
				t.Errorf("%+v", s)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			testutil.Eventually(t, "the server's connection ends", func() bool { return s.TCP.Stats().Active == 0 })
			if last := s.TCP.Handler.(handler.Observed).Last(); len(last) == 0 || last[0].Reason != handler.ReasonFIN {
				t.Errorf("the server's records: %+v", last)
			}
		})
	}
}

// A server whose certificate is not trusted, or that does not answer the handshake, cannot be
// connected to. A function of the configuration that blocks or panics does no harm.
func TestHandshakeFails(t *testing.T) {
	s := serveLoopback(t, func(s *tcp.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
	})
	silent := testutil.Listen(t, "tcp", "127.0.0.1:0")
	unblock := make(chan struct{})
	t.Cleanup(func() { close(unblock) })
	insecure := func(verify func(tls.ConnectionState) error) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, VerifyConnection: verify}
	}
	var untrusted *tls.CertificateVerificationError
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
		why     func(error) bool
	}{
		"untrusted": {s.Addr, &tls.Config{ServerName: "localhost"}, func(err error) bool { return errors.As(err, &untrusted) }},
		"silent":    {silent.Addr().String(), insecure(nil), func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		"panic":     {s.Addr, insecure(func(tls.ConnectionState) error { panic("oops") }), func(err error) bool { return err != nil }},
		"blocks": {s.Addr, insecure(func(tls.ConnectionState) error {
			<-unblock
			return nil
		}), isTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDialer(t)
			d.TLS = test.config
			d.ConnectTimeout = 3 * time.Second
			if name == "silent" || name == "blocks" {
				d.ConnectTimeout = 100 * time.Millisecond
			}
			if _, err := d.Dial(t.Context(), "tcp", test.address); !test.why(err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// A name may have several addresses. Those where nobody listens are passed over.
func TestSeveralAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the loopback interface has one address")
	}
	s := serveLoopback(t, nil)
	_, port, _ := net.SplitHostPort(s.Addr)
	d := newDialer(t)
	d.DialContext = (&net.Dialer{Resolver: resolver(t, "127.0.0.9", "127.0.0.8", "127.0.0.1")}).DialContext
	c, err := d.Dial(t.Context(), "tcp", net.JoinHostPort("server.example", port))
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, c, "1 echo x", "1 x")
	if remote := c.Status().RemoteAddr.String(); remote != s.Addr {
		t.Errorf("connected to %s, want %s", remote, s.Addr)
	}
}

// resolver returns a resolver that finds these addresses for each name.
func resolver(t *testing.T, addresses ...string) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for b := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if reply, err := resolve(b[:n], addresses); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() { conn.Close(); served.Wait() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// resolve answers a question of DNS. A question for IPv6 has an answer without addresses.
func resolve(question []byte, addresses []string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Header.Response = true
	m.Additionals = nil
	for _, q := range m.Questions {
		if q.Type != dnsmessage.TypeA {
			continue
		}
		for _, a := range addresses {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(a).To4())},
			})
		}
	}
	return m.Pack()
}

// A server that is stopped and started again, on the same address, gets its clients back, and what
// they have sent meanwhile.
func TestServerRestarts(t *testing.T) {
	const n = 50
	s := serveLoopback(t, nil)
	d := newDialer(t)
	d.Backoff = client.Backoff{First: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	var conns []*client.Conn
	for range n {
		c, err := d.Dial(t.Context(), "tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	s.Close()
	var requests sync.WaitGroup
	for _, c := range conns {
		testutil.Eventually(t, "the loss is noticed", func() bool { return c.Status().State != client.StateConnected })
		requests.Go(func() { wantAnswer(t, c, "1 echo x", "1 x") })
	}
	serveLoopback(t, func(server *tcp.Server) { server.Config.Address = s.Addr })
	requests.Wait()
	for _, c := range conns {
		awaitConn(t, c)
	}
	if totals := d.Totals(); totals.Connected != n || totals.Connects != 2*n || totals.Losses != n || totals.Answers != n {
		t.Errorf("%+v", totals)
	}
}

// After the server's FIN no answer can come, although it still reads.
func TestHalfClose(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	halfClosed := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		conn.Read(make([]byte, 100))
		conn.(*net.TCPConn).CloseWrite()
		halfClosed <- conn
	}()
	d := newDialer(t)
	c, err := d.Dial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Request(t.Context(), []byte("1 echo x")); !errors.Is(err, client.ErrLost) || !errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
	defer (<-halfClosed).Close()
	testutil.Eventually(t, "it connects again", func() bool { return c.Status().Connects == 2 })
}

// An idle Conn has no goroutine, where there are event loops, and no buffer.
func TestIdleConn(t *testing.T) {
	const n = 500
	if runtime.GOOS != "linux" {
		t.Skip("there are no event loops")
	}
	s := serveLoopback(t, nil)
	d := newDialer(t)
	measure := func(n int) (bytes int64, goroutines int) {
		for range n {
			c, err := d.Dial(t.Context(), "tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, c, "1 echo x", "1 x")
		}
		return testutil.Heap(), runtime.NumGoroutine()
	}
	bytes, goroutines := measure(10)
	bytes2, goroutines2 := measure(n)
	if more := goroutines2 - goroutines; more > 5 {
		t.Errorf("%d Conns have %d goroutines", n, more)
	}
	// The server's side of each, which is in the same process, takes about as much.
	each := (bytes2 - bytes) / n
	t.Logf("%d bytes each", each)
	if each > 3000 && !testutil.RaceEnabled {
		t.Errorf("an idle Conn takes %d bytes", each)
	}
}
