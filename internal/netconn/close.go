package netconn

import (
	"errors"
	"io"
	"net"
	"time"
)

// CloseWrite sends a FIN. The peer reads what is on its way and then the end of the
// stream; the other direction stays open. If conn cannot do that, the error is
// errors.ErrUnsupported.
func CloseWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Linger closes conn so that the last reply arrives. A close with unread input makes the
// kernel send a RST (RFC 1122, 4.2.2.13; tcp_close in Linux's net/ipv4/tcp.c), and a client
// that still sends sees its write fail before it has read the reply. So Linger sends a FIN,
// discards input until the client's FIN, for limit and for LingerBytes at most, and then
// closes. It sets the read deadline.
func Linger(conn net.Conn, limit time.Duration) error {
	if CloseWrite(conn) == nil {
		conn.SetReadDeadline(time.Now().Add(limit))
		AwaitFIN(conn)
	}
	return conn.Close()
}

// LingerBytes is the most that a lingering close reads. It is enough for a client that
// sends everything before it reads.
const LingerBytes = 4 << 20

// AwaitFIN discards input until the peer's FIN, the read deadline, or LingerBytes. Linger
// does that between the FIN and the close.
func AwaitFIN(conn net.Conn) {
	io.CopyN(io.Discard, struct{ io.Reader }{conn}, LingerBytes) // any error ends the wait
}

// CloseWithin closes conn with a FIN once the peer has acknowledged everything that was
// written, or after limit. After that the kernel goes on sending by itself, as after every
// close.
//
// close(2) does the same where SO_LINGER has a time (socket(7)). But it holds a thread, and
// Reset cannot cut it short, while any signal can (sk_stream_wait_close in Linux's
// net/core/stream.c), and the Go runtime sends signals to its threads to preempt them. So
// where the system tells what the peer has acknowledged, CloseWithin waits by itself, until
// conn is closed or reset. It discards input meanwhile, LingerBytes at most: with unread
// input the close would send a RST, which destroys what the peer has not acknowledged. On
// other systems close(2) waits.
func CloseWithin(conn net.Conn, limit time.Duration) error {
	if !tellsAcknowledged {
		SetLinger(conn, int((limit+time.Second-1)/time.Second))
		return conn.Close()
	}
	if CloseWrite(conn) == nil {
		awaitAcknowledged(conn, limit)
	}
	SetLinger(conn, -1)
	return conn.Close()
}

// awaitAcknowledged asks the kernel, less and less often: no event tells.
func awaitAcknowledged(conn net.Conn, limit time.Duration) {
	discarded, pause := 0, time.Millisecond
	for end := time.Now().Add(limit); ; pause = min(2*pause, 100*time.Millisecond) {
		discarded += discard(conn, LingerBytes-discarded)
		left := time.Until(end)
		if left <= 0 || acknowledged(conn) {
			return
		}
		time.Sleep(min(pause, left))
	}
}

// SetLinger sets SO_LINGER on the socket under conn, if there is one: seconds, 0 for
// a RST, -1 for off.
func SetLinger(conn net.Conn, seconds int) {
	if l, ok := innermost(conn).(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(seconds) // fails only on a closed connection
	}
}

// Reset closes conn with a RST: the peer sees an error and not the end of the stream, what
// was not sent yet is thrown away, and no TIME_WAIT is left (socket(7), SO_LINGER with a
// time of 0). A wrapped connection is unwrapped by its NetConn method, as tls.Conn has one.
// Where there is no RST, as on unix sockets, Reset is an ordinary Close.
func Reset(conn net.Conn) error {
	inner := innermost(conn)
	if l, ok := inner.(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0) // fails only on a closed connection, as Close then does
	}
	err := inner.Close()
	if inner != conn {
		conn.Close() // second, so that it cannot send anything before the RST
	}
	return err
}

// innermost unwraps conn by its NetConn methods, up to the first connection that can be
// reset.
func innermost(conn net.Conn) net.Conn {
	for inner := conn; ; {
		if _, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			return inner
		}
		w, ok := inner.(interface{ NetConn() net.Conn })
		if !ok || w.NetConn() == nil {
			return conn
		}
		inner = w.NetConn()
	}
}
