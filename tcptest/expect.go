package tcptest

import (
	"fmt"
	"io"
	"net"
	"testing"

	"wireline/internal/netconn"
)

// These are what most tests of a protocol consist of. They end the test, as t.Fatal does,
// so they are for its own goroutine; outside a synctest bubble give conn a deadline, or a
// test that waits in vain does so until go test's own time-out.

// Send writes text to conn. It ends the test if that fails.
func Send(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if n, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("wrote %d bytes of %s, then %v", n, clip(text), err)
	}
}

// Receive reads as many bytes as want has, and no more. It ends the test unless they are
// those.
func Receive(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %s, %v; want %s", clip(string(got[:n])), err, clip(want))
	}
}

// ReceiveAll reads to the end of the stream. It ends the test unless want came, no more,
// and then the peer's FIN.
func ReceiveAll(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(conn); err != nil || string(got) != want {
		t.Fatalf("read %s to the end, %v; want %s", clip(string(got)), err, clip(want))
	}
}

// ReceiveReset reads to the end of the stream. It ends the test unless that is a reset;
// whatever came before it is not looked at.
func ReceiveReset(t testing.TB, conn net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); !netconn.IsReset(err) {
		t.Fatalf("read %d bytes, then %v; want a reset", n, err)
	}
}

// CloseWrite sends a FIN: conn can still be read. It ends the test if conn cannot do that.
func CloseWrite(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := netconn.CloseWrite(conn); err != nil {
		t.Fatalf("close for writing: %v", err)
	}
}

// clip is s in quotes, or its beginning and its length.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
}
