package tcptest

import (
	"fmt"
	"io"
	"net"
	"testing"

	"wireline/internal/netconn"
)

// Most tests of a protocol consist of these functions. They end the test with t.Fatal, so
// call them in the goroutine of the test. Outside a synctest bubble, set a deadline on conn:
// otherwise a test that fails to receive something waits until go test times out.

// Send writes text to conn. If that fails, it ends the test.
func Send(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if n, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("wrote %d bytes of %s, then %v", n, clip(text), err)
	}
}

// Receive reads len(want) bytes from conn. If they are not want, it ends the test.
func Receive(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %s, %v; want %s", clip(string(got[:n])), err, clip(want))
	}
}

// ReceiveAll reads conn to its end. If the result is not exactly want followed by a
// FIN, it ends the test.
func ReceiveAll(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(conn); err != nil || string(got) != want {
		t.Fatalf("read %s to the end, %v; want %s", clip(string(got)), err, clip(want))
	}
}

// ReceiveReset reads conn until an error, and ignores the bytes. If the error is not a
// reset, it ends the test.
func ReceiveReset(t testing.TB, conn net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); !netconn.IsReset(err) {
		t.Fatalf("read %d bytes, then %v; want a reset", n, err)
	}
}

// CloseWrite sends a FIN; conn can still be read. If conn cannot do that, it ends the
// test.
func CloseWrite(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := netconn.CloseWrite(conn); err != nil {
		t.Fatalf("close for writing: %v", err)
	}
}

// clip returns s in quotes; if s is long, only its beginning and its length.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
}
