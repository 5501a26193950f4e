package tcp_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// A panic in Accept costs that connection only, wherever it comes: the client sees the
// end, and neither its place nor its descriptor is lost.
func TestPanicInAccept(t *testing.T) {
	a := testutil.NewAuthority(t)
	for name, test := range map[string]struct {
		before func(a handler.Accepted)
		tls    bool
	}{
		"at once":    {before: func(handler.Accepted) {}},
		"socket":     {before: func(a handler.Accepted) { a.Socket() }},
		"connection": {before: func(a handler.Accepted) { a.Conn() }},
		"both":       {before: func(a handler.Accepted) { a.Socket(); a.Conn() }},
		"TLS":        {before: func(a handler.Accepted) { a.Conn() }, tls: true},
		"done": {before: func(a handler.Accepted) {
			conn, _ := a.Conn()
			conn.Close()
			a.Done()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			cfg := tcp.Config{}
			if test.tls {
				cfg = tlsFiles(t, a)
			}
			cfg.MaxClients, cfg.MaxClientsPerIP, cfg.Log = 1, 1, log.logger()
			inner, calm := echo(), new(atomic.Bool)
			h := &acceptor{inner, func(a handler.Accepted) {
				if !calm.Load() {
					test.before(a)
					panic("as asked")
				}
				inner.Accept(a)
			}}
			s := start(t, cfg, h)
			before := 0
			for i := range 21 {
				if i == 1 { // the server has opened its own
					testutil.Eventually(t, "the first end", func() bool { return s.TCP.Stats().Active == 0 })
					before = testutil.OpenFiles(t)
				}
				conn := testutil.Dial(t, "tcp", s.Addr)
				if test.tls {
					conn = tls.Client(conn, a.Client("first"))
				}
				if b, err := io.ReadAll(conn); len(b) > 0 || isTimeout(err) {
					t.Fatalf("the client reads %q, %v", b, err)
				}
				conn.Close()
			}
			testutil.Eventually(t, "the ends", func() bool { return s.TCP.Stats().Active == 0 })
			testutil.Eventually(t, "the descriptors", func() bool { return testutil.OpenFiles(t) <= before })
			calm.Store(true)
			conn := testutil.Dial(t, "tcp", s.Addr)
			if test.tls {
				conn = tls.Client(conn, a.Client("first"))
			}
			exchange(t, conn, "hello\n")
			if st := s.TCP.Stats(); st.Panics != 21 || st.Accepted != 22 || st.RefusedPerIP != 0 {
				t.Errorf("stats %+v", st)
			}
			line := log.find("handler panicked")[0]
			if line["panic"] != "as asked" || line["peer"] == "" {
				t.Errorf("logged %v", line)
			}
		})
	}
}

// What an Acceptor is told of a connection, in each way that it can come.
func TestAccepted(t *testing.T) {
	a := testutil.NewAuthority(t)
	secure := tlsFiles(t, a)
	header := trusting(tcp.ProxyProtocolRequired)
	both := secure
	both.ProxyProtocol, both.ProxyProtocolTrusted = header.ProxyProtocol, header.ProxyProtocolTrusted
	for name, test := range map[string]struct {
		cfg    tcp.Config
		header bool
		tls    bool
		late   bool // the header comes in two parts
	}{
		"plain":            {cfg: tcp.Config{}},
		"header":           {cfg: header, header: true},
		"late header":      {cfg: header, header: true, late: true},
		"TLS":              {cfg: secure, tls: true},
		"header, TLS":      {cfg: both, header: true, tls: true},
		"late header, TLS": {cfg: both, header: true, tls: true, late: true},
	} {
		for _, taken := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				seen := make(chan handler.Accepted, 1)
				cfg := test.cfg
				cfg.Linger = handler.CloseWithin(7 * time.Second)
				srv := &tcp.Server{Config: cfg, Handler: &acceptor{echo(), func(a handler.Accepted) { seen <- a }}}
				ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
				serve(t.Context(), t, srv, ln)
				client := dial(t, "tcp", ln.Addr().String())
				wantLocal, wantRemote := ln.Addr().String(), client.LocalAddr().String()
				if test.header {
					text := formatted(t, 1, from4, to4)
					if test.late {
						send(t, client, text[:10])
						testutil.Eventually(t, "it is accepted", func() bool { return srv.Stats().Active == 1 })
						text = text[10:]
					}
					send(t, client, text)
					wantLocal, wantRemote = to4.String(), from4.String()
				}
				if test.tls {
					client = tls.Client(client, a.Client("first"))
					go client.(*tls.Conn).Handshake()
				}
				got := testutil.Await(t, "the connection", seen)
				defer got.Done()
				if fd, ok := -1, false; taken {
					fd, ok = got.Socket()
					if ok == test.tls {
						t.Errorf("Socket is %d, %t", fd, ok)
					}
				}
				conn, err := got.Conn()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				for what, c := range map[string]interface {
					LocalAddr() net.Addr
					RemoteAddr() net.Addr
				}{"Accepted": got, "Conn": conn} {
					if diff := cmp.Diff([]string{wantLocal, wantRemote}, []string{c.LocalAddr().String(), c.RemoteAddr().String()}); diff != "" {
						t.Errorf("addresses of %s (-want +got):\n%s", what, diff)
					}
				}
				if secured := got.TLS(); test.tls != (secured != nil) || secured != nil && net.Conn(secured) != conn {
					t.Errorf("TLS is %v, Conn %v", secured, conn)
				}
				if h := tcp.ProxyHeader(got.Context()); test.header != (h != nil) {
					t.Errorf("the context has the header %v", h)
				}
				if state := tcp.TLSState(got.Context()); test.tls != (state != nil) || state != nil && !state.HandshakeComplete {
					t.Errorf("the context has the TLS state %v", state)
				}
				if got.CloseMode() != cfg.Linger {
					t.Errorf("the mode is %v", got.CloseMode())
				}
				if !test.tls {
					if seconds := lingerOf(t, conn); seconds != 7 {
						t.Errorf("SO_LINGER is %d", seconds)
					}
					conn.(interface{ SetLinger(int) error }).SetLinger(-1)
				}
				go io.Copy(conn, conn)
				exchange(t, client, "hello\n")
			})
		}
	}
}
