package tcptest_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

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
				t.Errorf("the failure is %q, want %q", got, test.want)
			}
		})
	}
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
