package tcptest

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"wireline/internal/netconn"
)

// Timeout is for how long Send, Receive, ReceiveAll, ReceiveReset and Server.Dial wait for the other
// side before they end the test and say what has come until then. A deadline that the test has
// set counts if it is earlier. There is no limit in a synctest bubble, where an hour passes at
// once. Change it in TestMain only.
var Timeout = 10 * time.Second

// Most tests of a protocol consist of these functions. They end the test with t.Fatal, so
// call them in the goroutine of the test.

// Send writes text to conn. If that fails, it ends the test.
func Send(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	defer limitWait(conn.SetWriteDeadline)()
	if n, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("wrote %d bytes of %s, then %v", n, clip(text), err)
	}
}

// Receive reads len(want) bytes from conn. If they are not want, it ends the test.
func Receive(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	defer limitWait(conn.SetReadDeadline)()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %s, %v; want %s", clip(string(got[:n])), err, clip(want))
	}
}

// ReceiveAll reads conn to its end. If the result is not exactly want followed by a
// FIN, it ends the test.
func ReceiveAll(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	defer limitWait(conn.SetReadDeadline)()
	if got, err := io.ReadAll(conn); err != nil || string(got) != want {
		t.Fatalf("read %s to the end, %v; want %s", clip(string(got)), err, clip(want))
	}
}

// ReceiveReset reads conn until an error, and ignores the bytes. If the error is not a
// reset, it ends the test.
func ReceiveReset(t testing.TB, conn net.Conn) {
	t.Helper()
	defer limitWait(conn.SetReadDeadline)()
	var got beginning
	if _, err := io.Copy(&got, conn); !netconn.IsReset(err) {
		t.Fatalf("read %s, then %v; want a reset", got.clip(), err)
	}
}

// limitWait interrupts a read or write after Timeout, by a deadline that has passed, until the
// result is called.
func limitWait(setDeadline func(time.Time) error) (done func()) {
	if inBubble() {
		return func() {}
	}
	timer := time.AfterFunc(Timeout, func() { setDeadline(time.Unix(1, 0)) })
	return func() { timer.Stop() }
}

// inBubble reports whether the clock is that of a synctest bubble, which begins with the year
// 2000.
func inBubble() bool { return time.Now().Year() < 2020 }

// CloseWrite sends a FIN; conn can still be read. If conn cannot do that, it ends the
// test.
func CloseWrite(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := netconn.CloseWrite(conn); err != nil {
		t.Fatalf("close for writing: %v", err)
	}
}

// mostShown is how many bytes of a stream a message shows.
const mostShown = 200

// clip returns s in quotes; if s is long, only its beginning and its length.
func clip(s string) string { return clipped(s[:min(len(s), mostShown)], len(s)) }

func clipped(head string, length int) string {
	if len(head) == length {
		return fmt.Sprintf("%q", head)
	}
	return fmt.Sprintf("%q... (%d bytes)", head, length)
}

// beginning is a writer that keeps what is shown of a stream.
type beginning struct {
	head   []byte
	length int
}

func (b *beginning) Write(p []byte) (int, error) {
	b.head = append(b.head, p[:min(len(p), mostShown-len(b.head))]...)
	b.length += len(p)
	return len(p), nil
}

func (b *beginning) clip() string { return clipped(string(b.head), b.length) }
