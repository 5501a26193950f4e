package tcp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"testing"

	"github.com/pires/go-proxyproto"
)

// headerWithCRC returns a header of version 2 with a CRC32C TLV between two others.
func headerWithCRC(t *testing.T, client, local net.Addr) []byte {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, client, local)
	err := h.SetTLVs([]proxyproto.TLV{
		{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("example.com")},
		{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, 4)},
		{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 5)},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	at := len(b) - 8 - 4 // before the last TLV
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// A header whose CRC32C does not match is refused, whichever bit is wrong.
func TestHeaderChecksum(t *testing.T) {
	for name, addrs := range map[string][2]net.Addr{
		"IPv4": {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2}},
		"IPv6": {&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1}, &net.TCPAddr{IP: net.ParseIP("2001:db8::2"), Port: 2}},
		"unix": {&net.UnixAddr{Net: "unix", Name: "/a"}, &net.UnixAddr{Net: "unix", Name: "/b"}},
	} {
		b := headerWithCRC(t, addrs[0], addrs[1])
		if h, err := parseHeader(b); err != nil || h.size != len(b) {
			t.Errorf("%s: %v, %d of %d bytes", name, err, h.size, len(b))
		}
		for i := fixedSize; i < len(b); i++ {
			if i == len(b)-8-4-3 {
				continue // the type: it is a TLV that nobody knows then
			}
			b[i] ^= 0x10
			if h, err := parseHeader(b); err == nil {
				t.Errorf("%s: a wrong byte %d of %d is accepted: %v", name, i, len(b), h.Header)
			}
			b[i] ^= 0x10
		}
		b[len(b)-8-1] ^= 1 // of the sum
		if _, err := parseHeader(b); !errors.Is(err, errChecksum) {
			t.Errorf("%s: %v, want %v", name, err, errChecksum)
		}
	}
}
