package tcp

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
)

// Where a header cannot be seen without reading what follows it, the connection has its first
// bytes, and otherwise the addresses of the header and the methods of a TCP connection.
func TestReadAhead(t *testing.T) {
	for header, want := range map[string][]string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n": {"192.0.2.2:2000", "192.0.2.1:1000"},
		"PROXY UNKNOWN\r\n":                            nil, // the balancer's own
	} {
		for name, read := range map[string]func(net.Conn) ([]byte, error){
			"Read": func(conn net.Conn) ([]byte, error) { return io.ReadAll(conn) },
			"WriteTo": func(conn net.Conn) ([]byte, error) {
				var b bytes.Buffer
				_, err := conn.(io.WriterTo).WriteTo(&b)
				return b.Bytes(), err
			},
		} {
			t.Run(name, func(t *testing.T) {
				client, server := testutil.Pair(t)
				io.WriteString(client, header+"hello")
				a := newAccepted(&terms{listener: &listener{}}, server)
				h, err := a.readAhead()
				if err == nil {
					err = a.takeHeader(h)
				}
				if err != nil {
					t.Fatal(err)
				}
				conn, _ := a.Conn()
				addrs := []string{conn.LocalAddr().String(), conn.RemoteAddr().String()}
				want := want
				if want == nil {
					want = []string{server.LocalAddr().String(), server.RemoteAddr().String()}
				}
				if diff := cmp.Diff(want, addrs); diff != "" {
					t.Error(diff)
				}
				for _, ok := range []bool{
					is[interface{ CloseWrite() error }](conn), is[interface{ CloseRead() error }](conn),
					is[interface{ SetLinger(int) error }](conn), is[syscall.Conn](conn),
					is[io.ReaderFrom](conn), is[interface{ NetConn() net.Conn }](conn),
				} {
					if !ok {
						t.Errorf("%T lacks one of a TCP connection's methods", conn)
					}
				}
				if s := conn.(interface{ Socket() net.Conn }).Socket(); s != nil {
					t.Errorf("the socket is offered, but it lacks the first bytes")
				}
				io.WriteString(client, " and more")
				client.(*net.TCPConn).CloseWrite()
				if got, err := read(conn); err != nil || string(got) != "hello and more" {
					t.Errorf("read %q, %v", got, err)
				}
			})
		}
	}
}

func is[T any](v any) bool { _, ok := v.(T); return ok }
