package tcp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pires/go-proxyproto"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// whoami sends each client its addresses, as the handler sees them, and echoes lines.
func whoami() *handler.Frames {
	h := echo()
	h.OnOpen = func(c *handler.Client) error {
		tlvs := 0
		if p := tcp.ProxyHeader(c.Context()); p != nil {
			list, err := p.TLVs()
			if err != nil {
				return err
			}
			tlvs = len(list)
		}
		_, err := fmt.Fprintf(c, "%s to %s, %d TLVs\n", c.RemoteAddr(), c.LocalAddr(), tlvs)
		return err
	}
	return h
}

// trusting is a configuration that reads headers of everybody on this machine.
func trusting(mode tcp.ProxyProtocol) tcp.Config {
	return tcp.Config{ProxyProtocol: mode, ProxyProtocolTrusted: []string{"127.0.0.0/8"}}
}

// hide hides what a listener is, so that its connections have goroutines.
type hide struct{ net.Listener }

func (l hide) SetDeadline(t time.Time) error {
	return l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

// overConns runs test with a server for each way to hold its connections.
func overConns(t *testing.T, cfg tcp.Config, test func(t *testing.T, dial func() net.Conn, s *tcptest.Server)) {
	for name, listen := range map[string]func(t *testing.T) (net.Listener, func() net.Conn){
		"loop": func(t *testing.T) (net.Listener, func() net.Conn) {
			ln := listenTCP(t)
			return ln, func() net.Conn { return dial(t, "tcp", ln.Addr().String()) }
		},
		"goroutine": func(t *testing.T) (net.Listener, func() net.Conn) {
			ln := listenTCP(t)
			return hide{ln}, func() net.Conn { return dial(t, "tcp", ln.Addr().String()) }
		},
		"memory": func(t *testing.T) (net.Listener, func() net.Conn) {
			ln := tcptest.Listen()
			return ln, func() net.Conn { return join(t, ln) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := tcptest.NewUnstartedServer(whoami())
			s.TCP.Config = cfg
			if name == "memory" { // its clients are 192.0.2.0/24 or the like
				s.TCP.ProxyProtocolTrusted = []string{"0.0.0.0/0", "::/0"}
			}
			ln, dial := listen(t)
			s.Serve(ln)
			t.Cleanup(s.Close)
			test(t, dial, s)
		})
	}
}

var (
	from4 = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	to4   = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80}
	from6 = &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 4711}
	to6   = &net.TCPAddr{IP: net.ParseIP("2001:db8::2"), Port: 80}
)

// formatted is a header as it is sent.
func formatted(t testing.TB, version byte, from, to net.Addr, tlvs ...proxyproto.TLV) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, from, to)
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A connection has the addresses of its header, however that arrives, and the bytes
// behind it are the first of the client's.
func TestProxyHeader(t *testing.T) {
	tlv := proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("example.org")}
	overConns(t, trusting(tcp.ProxyProtocolRequired), func(t *testing.T, dial func() net.Conn, _ *tcptest.Server) {
		for _, test := range []struct{ header, want string }{
			{formatted(t, 1, from4, to4), "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\n"},
			{formatted(t, 1, from6, to6), "[2001:db8::1]:4711 to [2001:db8::2]:80, 0 TLVs\n"},
			{formatted(t, 2, from4, to4), "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\n"},
			{formatted(t, 2, from6, to6, tlv), "[2001:db8::1]:4711 to [2001:db8::2]:80, 1 TLVs\n"},
		} {
			for how, deliver := range map[string]func(t *testing.T, conn net.Conn, text string){
				"in one": func(t *testing.T, conn net.Conn, text string) { send(t, conn, text) },
				"byte by byte": func(t *testing.T, conn net.Conn, text string) {
					for i := range text {
						send(t, conn, text[i:i+1])
					}
				},
			} {
				t.Run(fmt.Sprintf("%.5q %s", test.header, how), func(t *testing.T) {
					conn := dial()
					deliver(t, conn, test.header+"hello\n")
					receive(t, conn, test.want+"hello\n")
					exchange(t, conn, "again\n")
				})
			}
			t.Run(fmt.Sprintf("%.5q alone", test.header), func(t *testing.T) {
				conn := dial()
				send(t, conn, test.header)
				receive(t, conn, test.want) // the server speaks first
				exchange(t, conn, "hello\n")
			})
		}
	})
}

// A header that is about the balancer's own connection leaves that its addresses.
func TestProxyHeaderLocal(t *testing.T) {
	for _, header := range []string{
		formatted(t, 1, nil, nil),
		formatted(t, 2, nil, nil),
		"PROXY UNKNOWN 1.2.3.4 5.6.7.8 9 10\r\n",
	} {
		overConns(t, trusting(tcp.ProxyProtocolRequired), func(t *testing.T, dial func() net.Conn, _ *tcptest.Server) {
			conn := dial()
			send(t, conn, header+"hello\n")
			receive(t, conn, fmt.Sprintf("%s to %s, 0 TLVs\nhello\n", conn.LocalAddr(), conn.RemoteAddr()))
		})
	}
}

// Where it is optional, a connection may begin as it likes.
func TestProxyHeaderOptional(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	cfg := trusting(tcp.ProxyProtocolOptional)
	cfg.ProxyHeaderTimeout = 2 * time.Second // for what could still become a header
	overConns(t, cfg, func(t *testing.T, dial func() net.Conn, _ *tcptest.Server) {
		for _, first := range []string{"hello", "P", "PING", "\r", "\r\n\r", "", "PROXYING is a word", "PROXY"} {
			conn := dial()
			line := first + "\n"
			send(t, conn, line)
			greeting := fmt.Sprintf("%s to %s, 0 TLVs\n", conn.LocalAddr(), conn.RemoteAddr())
			receive(t, conn, greeting+strings.ReplaceAll(line, "\r\n", "\n"))
		}
		conn := dial()
		send(t, conn, formatted(t, 1, from4, to4)+"hello\n")
		receive(t, conn, "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\nhello\n")
	})
}

// A client that says nothing is cut in time where a header is required, and where it
// is optional the server speaks. A header that has begun is one: what is there of it is
// not the client's.
func TestProxyHeaderTimeout(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for _, mode := range []tcp.ProxyProtocol{tcp.ProxyProtocolRequired, tcp.ProxyProtocolOptional} {
		testutil.InTime(t, 300*time.Millisecond, func(timeout time.Duration) error {
			cfg := trusting(mode)
			cfg.ProxyHeaderTimeout = timeout
			var late error
			overConns(t, cfg, func(t *testing.T, dial func() net.Conn, s *tcptest.Server) {
				late = errors.Join(late, headersTimeOut(t, cfg, dial, s))
			})
			return late
		})
	}
}

// headersTimeOut returns ErrLate if a client was too late for the timeout.
func headersTimeOut(t *testing.T, cfg tcp.Config, dial func() net.Conn, s *tcptest.Server) error {
	binary := string(proxyproto.SIGV2)
	begun := []string{"PROXY ", "PROXY TCP4 ", binary, formatted(t, 2, from4, to4)[:20]}
	none := []string{"", "P", "PROXY", binary[:11]}
	began, conns := time.Now(), map[string]net.Conn{}
	for _, beginning := range append(begun, none...) {
		begin := time.Now()
		conns[beginning] = dial()
		io.WriteString(conns[beginning], beginning) // fails if it is too late
		if time.Since(begin) >= cfg.ProxyHeaderTimeout {
			return testutil.ErrLate
		}
	}
	for beginning, conn := range conns {
		switch {
		case cfg.ProxyProtocol == tcp.ProxyProtocolOptional && slices.Contains(none, beginning):
			greeting := fmt.Sprintf("%s to %s, 0 TLVs\n", conn.LocalAddr(), conn.RemoteAddr())
			receive(t, conn, greeting)
			send(t, conn, "hello\n")
			receive(t, conn, strings.ReplaceAll(beginning, "\r\n", "\n")+"hello\n")
		default:
			receiveReset(t, conn)
		}
		if took := time.Since(began); took < cfg.ProxyHeaderTimeout*9/10 || took > 20*cfg.ProxyHeaderTimeout {
			t.Errorf("after %v, want %v", took, cfg.ProxyHeaderTimeout)
		}
	}
	want := uint64(len(begun))
	if cfg.ProxyProtocol == tcp.ProxyProtocolRequired {
		want += uint64(len(none))
	}
	if n := s.TCP.Stats().RefusedHeader; n != want {
		t.Errorf("%d refused, want %d", n, want)
	}
	return nil
}

// A client that begins as a header does and has no more to say is not waited for.
func TestProxyHeaderCutShort(t *testing.T) {
	cfg := trusting(tcp.ProxyProtocolOptional)
	cfg.ProxyHeaderTimeout = time.Hour
	overConns(t, cfg, func(t *testing.T, dial func() net.Conn, _ *tcptest.Server) {
		conn := dial()
		send(t, conn, "P")
		endWriting(t, conn)
		receiveAll(t, conn, fmt.Sprintf("%s to %s, 0 TLVs\nP\n", conn.LocalAddr(), conn.RemoteAddr()))
		for _, beginning := range []string{"PROXY ", formatted(t, 2, from4, to4)[:20]} {
			conn := dial()
			send(t, conn, beginning)
			endWriting(t, conn)
			receiveReset(t, conn)
		}
	})
}

// badHeaders are none, or none that can be understood.
var badHeaders = []string{
	"hello, world\n",
	"PROXY \r\n",
	"PROXY TCP4 1.2.3.4 5.6.7.8 9\r\n",
	"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\n",
	"PROXY TCP4 1.2.3.4 5.6.7.8 9 65536\r\n",
	"PROXY TCP4 1.2.3.4.5 5.6.7.8 9 10\r\n",
	"PROXY TCP9 1.2.3.4 5.6.7.8 9 10\r\n",
	"PROXY " + strings.Repeat("x", 200),
	"PROXY " + strings.Repeat("x", 200) + "\r\n",
	string(proxyproto.SIGV2) + "\x31\x11\x00\x00", // version 3
	string(proxyproto.SIGV2) + "\x21\x11\x00\x04abcd",
	string(proxyproto.SIGV2) + "\x21\x11\xff\xff",
	string(proxyproto.SIGV2) + "\x21\x99\x00\x0c1.2.3.4.5.6.",
	// TLVs that end in their type, in their length, and before what that says.
	string(proxyproto.SIGV2) + "\x21\x11\x00\x0d1.2.3.4.ABCD\x04",
	string(proxyproto.SIGV2) + "\x21\x11\x00\x0e1.2.3.4.ABCD\x04\x00",
	string(proxyproto.SIGV2) + "\x21\x11\x00\x121.2.3.4.ABCD\x04\x00\xffabc",
	"\x00\x00",
}

// What a header about the balancer's own connection has in it is skipped, whatever it is.
func TestLocalProxyHeaderIsSkipped(t *testing.T) {
	s := start(t, trusting(tcp.ProxyProtocolRequired), whoami())
	for _, rest := range []string{"\x00\x00\x03abc", "\x11\x00\x03abc", "\x11\x00\x0d1.2.3.4.ABCD\x04"} {
		conn := dial(t, "tcp", s.Addr)
		send(t, conn, string(proxyproto.SIGV2)+"\x20"+rest+"hello\n")
		receive(t, conn, fmt.Sprintf("%s to %s, 0 TLVs\nhello\n", conn.LocalAddr(), conn.RemoteAddr()))
	}
}

// Bad headers are refused and counted, and other clients do not notice.
func TestBadProxyHeader(t *testing.T) {
	overConns(t, trusting(tcp.ProxyProtocolRequired), func(t *testing.T, dial func() net.Conn, s *tcptest.Server) {
		other := dial()
		send(t, other, formatted(t, 2, from4, to4))
		receive(t, other, "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\n")
		for _, header := range badHeaders {
			conn := dial()
			io.WriteString(conn, header)
			receiveReset(t, conn)
		}
		exchange(t, other, "still here\n")
		if n := s.TCP.Stats().RefusedHeader; n != uint64(len(badHeaders)) {
			t.Errorf("%d refused, want %d", n, len(badHeaders))
		}
	})
}

// Bad clients, ten thousand of them, do not stop the accept loop.
func TestManyBadProxyHeaders(t *testing.T) {
	s := start(t, trusting(tcp.ProxyProtocolRequired), whoami())
	many := 10_000
	if testutil.Reduced() {
		many = 1000
	}
	for i := range many {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, badHeaders[i%2])
		conn.Close()
	}
	conn := s.Dial()
	defer conn.Close()
	send(t, conn, formatted(t, 2, from4, to4))
	receive(t, conn, "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\n")
}

// A peer that is not trusted cannot claim another address.
func TestUntrustedProxyHeader(t *testing.T) {
	header := formatted(t, 1, from4, to4)
	for mode, check := range map[tcp.ProxyProtocol]func(t testing.TB, conn net.Conn){
		tcp.ProxyProtocolRequired: receiveReset,
		tcp.ProxyProtocolOptional: func(t testing.TB, conn net.Conn) {
			receive(t, conn, fmt.Sprintf("%s to %s, 0 TLVs\n", conn.LocalAddr(), conn.RemoteAddr()))
			receive(t, conn, strings.TrimSuffix(header, "\r\n")+"\n")
		},
		tcp.ProxyProtocolOff: func(t testing.TB, conn net.Conn) {
			receive(t, conn, fmt.Sprintf("%s to %s, 0 TLVs\n", conn.LocalAddr(), conn.RemoteAddr()))
			receive(t, conn, strings.TrimSuffix(header, "\r\n")+"\n")
		},
	} {
		t.Run(string(mode), func(t *testing.T) {
			s := start(t, tcp.Config{ProxyProtocol: mode, ProxyProtocolTrusted: []string{"192.0.2.0/24"}}, whoami())
			conn, err := net.Dial("tcp", s.Addr)
			if mode == tcp.ProxyProtocolRequired && isReset(err) {
				return // before the connect has returned
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(conn, header); mode == tcp.ProxyProtocolRequired && isReset(err) {
				return // a Read would not say so again
			}
			check(t, conn)
		})
	}
}

// Every client of a unix socket is trusted.
func TestProxyHeaderOnUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no unix sockets in tests on Windows")
	}
	path := filepath.Join(t.TempDir(), "s")
	s := start(t, tcp.Config{Network: "unix", Address: path, ProxyProtocol: tcp.ProxyProtocolRequired}, whoami())
	conn := dial(t, "unix", s.Addr)
	send(t, conn, formatted(t, 2, from6, to6)+"hello\n")
	receive(t, conn, "[2001:db8::1]:4711 to [2001:db8::2]:80, 0 TLVs\nhello\n")

	conn = dial(t, "unix", s.Addr) // named as one on a unix socket itself
	send(t, conn, formatted(t, 2, &net.UnixAddr{Name: "/a", Net: "unix"}, &net.UnixAddr{Name: "/b", Net: "unix"})+"hello\n")
	receive(t, conn, "/a to /b, 0 TLVs\nhello\n")
}

// The limit for one address counts the one that the header names.
func TestProxyHeaderAndMaxClientsPerIP(t *testing.T) {
	cfg := trusting(tcp.ProxyProtocolRequired)
	cfg.MaxClientsPerIP = 1
	overConns(t, cfg, func(t *testing.T, dial func() net.Conn, s *tcptest.Server) {
		first := dial()
		send(t, first, formatted(t, 1, from4, to4)+"hello\n")
		receive(t, first, "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\nhello\n")
		second := dial()
		send(t, second, formatted(t, 1, from4, to4))
		receiveReset(t, second)
		other := dial()
		send(t, other, formatted(t, 1, from6, to6)+"hello\n")
		receive(t, other, "[2001:db8::1]:4711 to [2001:db8::2]:80, 0 TLVs\nhello\n")
		first.Close()
		eventually(t, "the first client leaves", func() bool { return s.TCP.Stats().Active == 1 })
		third := dial()
		send(t, third, formatted(t, 1, from4, to4)+"hello\n")
		receive(t, third, "192.0.2.1:4711 to 192.0.2.2:80, 0 TLVs\nhello\n")
	})
}

// A server that stops does not wait for headers.
func TestShutdownWhileAwaitingHeader(t *testing.T) {
	cfg := trusting(tcp.ProxyProtocolRequired)
	cfg.ProxyHeaderTimeout = time.Hour
	overConns(t, cfg, func(t *testing.T, dial func() net.Conn, s *tcptest.Server) {
		conn := dial()
		send(t, conn, "PROXY")
		eventually(t, "it is accepted", func() bool { return s.TCP.Stats().Active == 1 })
		shutdown(t, s.TCP)
		receiveReset(t, conn)
		if n := s.TCP.Stats().RefusedHeader; n != 0 {
			t.Errorf("%d refused: a stop is not the client's fault", n)
		}
	})
}

// Handlers of connections see the addresses too, and have the connection's own
// methods.
func TestProxyHeaderForPlainHandlers(t *testing.T) {
	seen := make(chan net.Conn, 1)
	h := raw(func(conn net.Conn) {
		seen <- conn
		io.Copy(conn, conn) // by splice, where the system has it
		conn.Close()
	})
	s := start(t, trusting(tcp.ProxyProtocolRequired), h)
	client := dial(t, "tcp", s.Addr)
	send(t, client, formatted(t, 1, from4, to4)+"hello")
	receive(t, client, "hello")
	conn := testutil.Await(t, "the connection", seen)
	if diff := cmp.Diff([]string{conn.LocalAddr().String(), conn.RemoteAddr().String()}, []string{to4.String(), from4.String()}); diff != "" {
		t.Error(diff)
	}
	for _, ok := range []bool{
		is[interface{ CloseWrite() error }](conn), is[interface{ CloseRead() error }](conn),
		is[interface{ SetLinger(int) error }](conn), is[io.ReaderFrom](conn), is[io.WriterTo](conn),
		is[interface{ NetConn() net.Conn }](conn),
	} {
		if !ok {
			t.Errorf("%T lacks one of a TCP connection's methods", conn)
		}
	}
	client.(*net.TCPConn).CloseWrite()
	receiveAll(t, client, "")
}

func is[T any](v any) bool { _, ok := v.(T); return ok }
