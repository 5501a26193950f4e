package tcptest_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"wireline/tcptest"
)

// verdict is a test that keeps what it failed with.
type verdict struct {
	testing.TB
	said string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatalf(format string, args ...any) {
	v.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// judge returns what f fails with, if it does.
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
		want   string // in what the test fails with
	}{
		{"sent", func(c conn) {},
			func(t testing.TB, c conn) { tcptest.Send(t, c, "hello\n") }, ""},
		{"sent to nobody", func(c conn) { c.Reset() },
			func(t testing.TB, c conn) { tcptest.Send(t, c, "hello\n") }, `wrote 0 bytes of "hello\n", then`},
		{"what was wanted", func(c conn) { c.Write([]byte("hello, and more")) },
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
			func(t testing.TB, c conn) { tcptest.ReceiveReset(t, c) }, "read 5 bytes, then <nil>; want a reset"},
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
				t.Errorf("it fails with %q, want %q", got, test.want)
			}
		})
	}
}

// What is long is cut short, with its length.
func TestExpectClips(t *testing.T) {
	client, server := tcptest.Pipe()
	defer client.Close()
	server.Write([]byte(strings.Repeat("x", 1000)))
	server.Close()
	got := judge(t, func(t testing.TB) { tcptest.ReceiveAll(t, client, "") })
	if len(got) > 300 || !strings.Contains(got, "(1000 bytes)") {
		t.Errorf("it fails with %q", got)
	}
}

// Not everything can be half-closed.
func TestExpectCloseWrite(t *testing.T) {
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if got := judge(t, func(t testing.TB) { tcptest.CloseWrite(t, one) }); !strings.Contains(got, "close for writing") {
		t.Errorf("it fails with %q", got)
	}
}
