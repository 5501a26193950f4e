//go:build unix

package netconn_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

func TestReadNow(t *testing.T) {
	a, b := testutil.Pair(t)
	b.SetReadDeadline(time.Unix(1, 0)) // it does not count
	p := make([]byte, 10)
	if n, empty, err := netconn.ReadNow(b, p); n != 0 || !empty || err != nil {
		t.Errorf("nothing has arrived: %d, %v, %v", n, empty, err)
	}
	a.Write([]byte("hello"))
	var got string
	testutil.Eventually(t, "the bytes", func() bool {
		n, _, err := netconn.ReadNow(b, p)
		got += string(p[:n])
		return got == "hello" && err == nil
	})
	a.Close()
	testutil.Eventually(t, "the end", func() bool {
		_, empty, err := netconn.ReadNow(b, p)
		return !empty && err == io.EOF
	})
	c, _ := net.Pipe()
	if _, _, err := netconn.ReadNow(c, p); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of a pipe: %v", err)
	}
}
