package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// FuzzHeader takes go-proxyproto's encoder as the oracle: what it writes is understood,
// from the last byte of it on and no sooner, whatever comes behind. Other bytes do not
// make it panic, and never take more than there is.
func FuzzHeader(f *testing.F) {
	f.Add(true, []byte{1, 2, 3, 4}, []byte{5, 6, 7, 8}, uint16(9), uint16(10), []byte("rest"))
	f.Add(false, bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16), uint16(9), uint16(10), []byte("\r\n"))
	f.Add(false, []byte{}, []byte{}, uint16(9), uint16(10), []byte("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"))
	f.Add(false, []byte{}, []byte{}, uint16(9), uint16(10), append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), make([]byte, 12)...))
	f.Fuzz(func(t *testing.T, first bool, from, to []byte, fromPort, toPort uint16, rest []byte) {
		if h, err := parseHeader(rest); err == nil && h.size > len(rest) {
			t.Fatalf("takes %d bytes of %d", h.size, len(rest))
		}
		version := byte(2)
		if first {
			version = 1
		}
		want := proxyproto.HeaderProxyFromAddrs(version,
			&net.TCPAddr{IP: from, Port: int(fromPort)}, &net.TCPAddr{IP: to, Port: int(toPort)})
		b, err := want.Format()
		if err != nil {
			t.Skip()
		}
		for n := range b {
			if _, err := parseHeader(b[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d bytes of %d: %v", n, len(b), err)
			}
		}
		got, err := parseHeader(append(b[:len(b):len(b)], rest...))
		if err != nil || got.size != len(b) {
			t.Fatalf("%q: %d bytes of %d, %v", b, got.size, len(b), err)
		}
		if !got.EqualsTo(want) {
			t.Fatalf("%+v, want %+v", got.Header, want)
		}
	})
}

// strange is a connection from an address of another kind.
type strange struct{ net.Conn }

type strangeAddr struct{}

func (strangeAddr) Network() string { return "strange" }
func (strangeAddr) String() string  { return "from afar" }

func (strange) RemoteAddr() net.Addr { return strangeAddr{} }

func TestTrust(t *testing.T) {
	cfg := Config{ProxyProtocol: ProxyProtocolRequired, ProxyProtocolTrusted: []string{"10.0.0.0/8", "192.0.2.7", "fe80::/10", "::ffff:172.16.0.0/108"}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	trusting := cfg.headerPolicy()
	tcp := func(text string) net.Conn {
		ip, zone, _ := strings.Cut(text, "%")
		return from{addr: &net.TCPAddr{IP: net.ParseIP(ip), Zone: zone}}
	}
	for conn, want := range map[net.Conn]bool{
		tcp("10.1.2.3"):                        true,
		tcp("::ffff:10.1.2.3"):                 true,
		tcp("11.1.2.3"):                        false,
		tcp("192.0.2.7"):                       true,
		tcp("192.0.2.8"):                       false,
		tcp("fe80::1"):                         true,
		tcp("fe80::1%eth0"):                    true,
		tcp("172.17.0.1"):                      true,
		from{addr: &net.UnixAddr{Net: "unix"}}: true,
		strange{}:                              false,
		from{}:                                 false,
	} {
		if got := trusting.trusts(newAccepted(nil, conn)); got != want {
			t.Errorf("%v is trusted: %v", conn.RemoteAddr(), got)
		}
	}
}

type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }
