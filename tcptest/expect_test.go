package tcptest_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// verdict is a testing.TB that records its failure.
type verdict struct {
	testing.TB
	said string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatalf(format string, args ...any) {
	v.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// judge returns the failure message of f, or "" if f does not fail.
func judge(t *testing.T, f func(t testing.TB)) string {
	v := &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(v)
	}()
	<-done
	return v.said
}

func TestExpect(t *testing.T) {
	type conn = *tcptest.Conn
	for _, test := range []struct {
		name   string
		server func(conn)
		client func(t testing.TB, c conn)
		want   string // contained in the failure message
	}{
		{"sent", func(c conn) {},
			func(t testing.TB, c conn) { tcptest.Send(t, c, "hello\n") }, ""},
		{"sent after a reset", func(c conn) { c.Reset() },
			func(t testing.TB, c conn) { tcptest.Send(t, c, "hello\n") }, `wrote 0 bytes of "hello\n", then`},
		{"as expected", func(c conn) { c.Write([]byte("hello, and more")) },
			func(t testing.TB, c conn) { tcptest.Receive(t, c, "hello") }, ""},
		{"something else", func(c conn) { c.Write([]byte("hallo")) },
			func(t testing.TB, c conn) { tcptest.Receive(t, c, "hello") }, `read "hallo", <nil>; want "hello"`},
		{"too little", func(c conn) { c.Write([]byte("hel")); c.Close() },
			func(t testing.TB, c conn) { tcptest.Receive(t, c, "hello") }, `read "hel", unexpected EOF; want "hello"`},
		{"all", func(c conn) { c.Write([]byte("hello")); c.Close() },
			func(t testing.TB, c conn) { tcptest.ReceiveAll(t, c, "hello") }, ""},
		{"more than all", func(c conn) { c.Write([]byte("hello, and more")); c.Close() },
			func(t testing.TB, c conn) { tcptest.ReceiveAll(t, c, "hello") }, `read "hello, and more" to the end, <nil>; want "hello"`},
		{"all and a reset", func(c conn) { c.Write([]byte("hello")); c.Reset() },
			func(t testing.TB, c conn) { tcptest.ReceiveAll(t, c, "hello") }, "connection reset by peer"},
		{"a reset", func(c conn) { c.Write([]byte("hello")); c.Reset() },
			func(t testing.TB, c conn) { tcptest.ReceiveReset(t, c) }, ""},
		{"no reset", func(c conn) { c.Write([]byte("hello")); c.Close() },
			func(t testing.TB, c conn) { tcptest.ReceiveReset(t, c) }, `read "hello", then <nil>; want a reset`},
		{"half-closed", func(c conn) {},
			func(t testing.TB, c conn) { tcptest.CloseWrite(t, c) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := tcptest.Pipe()
			defer client.Close()
			defer server.Close()
			test.server(server)
			got := judge(t, func(t testing.TB) { test.client(t, client) })
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("the failure is %q, want %q", got, test.want)
			}
		})
	}
}

// What does not come ends the test within Timeout, with what has come, over real sockets and in
// memory.
func TestExpectTimesOut(t *testing.T) {
	old := tcptest.Timeout
	tcptest.Timeout = 50 * time.Millisecond
	t.Cleanup(func() { tcptest.Timeout = old })
	pairs := map[string]func(t *testing.T) (client, server net.Conn){
		"memory": func(*testing.T) (client, server net.Conn) { return tcptest.Pipe() },
		"tcp":    tcpPair,
		"TLS": func(t *testing.T) (client, server net.Conn) {
			client, server = tcpPair(t)
			s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}})
			c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
			go c.Handshake()
			if err := s.Handshake(); err != nil {
				t.Fatal(err)
			}
			return c, s
		},
	}
	for name, pair := range pairs {
		for _, test := range []struct {
			name string
			wait func(t testing.TB, c net.Conn)
			want string
		}{
			{"Receive", func(t testing.TB, c net.Conn) { tcptest.Receive(t, c, "hello\n") }, `read "hel",`},
			{"ReceiveAll", func(t testing.TB, c net.Conn) { tcptest.ReceiveAll(t, c, "hel") }, `read "hel" to the end,`},
			{"ReceiveReset", func(t testing.TB, c net.Conn) { tcptest.ReceiveReset(t, c) }, `read "hel", then`},
			{"Send", func(t testing.TB, c net.Conn) { tcptest.Send(t, c, strings.Repeat("x", 16<<20)) }, "... (16777216 bytes), then"},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				client, server := pair(t)
				defer client.Close()
				defer server.Close()
				io.WriteString(server, "hel")
				got := judge(t, func(t testing.TB) { test.wait(t, client) })
				if !strings.Contains(got, test.want) || !strings.Contains(got, "timeout") {
					t.Errorf("the failure is %q, want %q and a timeout", got, test.want)
				}
			})
		}
	}
}

// A deadline of the test's own counts if it is earlier.
func TestExpectKeepsDeadlines(t *testing.T) {
	client, server := tcpPair(t)
	defer client.Close()
	defer server.Close()
	client.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if got := judge(t, func(t testing.TB) { tcptest.Receive(t, client, "hello") }); !strings.Contains(got, "timeout") {
		t.Errorf("the failure is %q", got)
	}
}

// In a bubble there is no limit.
func TestExpectInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := tcptest.Pipe()
		go func() {
			time.Sleep(24 * time.Hour)
			io.WriteString(server, "hello")
			server.Close()
		}()
		tcptest.Receive(t, client, "hello")
		tcptest.ReceiveAll(t, client, "")
		client.Close()
	})
}

// Server.Dial does not wait for ever either.
func TestServerDialTimesOut(t *testing.T) {
	old := tcptest.Timeout
	tcptest.Timeout = 50 * time.Millisecond
	t.Cleanup(func() { tcptest.Timeout = old })
	ln := tcptest.Listen()
	ln.Backlog = 1
	s := tcptest.NewUnstartedServer(&handler.Frames{})
	s.TCP.Config.MaxClients = 1 // accepts one, and leaves the next in the backlog
	s.Serve(ln)
	t.Cleanup(s.Close)
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "deadline exceeded") {
			t.Errorf("the panic is %v", v)
		}
	}()
	for range 4 {
		defer s.Dial().Close()
	}
}

// tcpPair returns the two ends of a connection over the loopback interface.
func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// A long text is shortened, and its length is reported.
func TestExpectClips(t *testing.T) {
	client, server := tcptest.Pipe()
	defer client.Close()
	server.Write([]byte(strings.Repeat("x", 1000)))
	server.Close()
	got := judge(t, func(t testing.TB) { tcptest.ReceiveAll(t, client, "") })
	if len(got) > 300 || !strings.Contains(got, "(1000 bytes)") {
		t.Errorf("the failure is %q", got)
	}
}

// CloseWrite fails for a connection that cannot be half-closed.
func TestExpectCloseWrite(t *testing.T) {
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if got := judge(t, func(t testing.TB) { tcptest.CloseWrite(t, one) }); !strings.Contains(got, "close for writing") {
		t.Errorf("the failure is %q", got)
	}
}
