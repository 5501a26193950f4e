package netconn

import (
	"errors"
	"io"
	"net"
	"time"
)

// CloseWrite sends a FIN: the peer reads what is on its way and then the end of
// the stream, the other direction stays open. A connection that cannot do so
// returns errors.ErrUnsupported.
func CloseWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Linger closes conn so that what was written last arrives. A close with input
// unread makes the kernel send a RST (RFC 1122, 4.2.2.13; tcp_close in Linux's
// net/ipv4/tcp.c), and a client that still sends sees its write fail before it
// has read our reply. So: FIN, then read and discard until the client's FIN, but
// no longer than limit, and no more than LingerBytes; then close. It sets the read
// deadline.
func Linger(conn net.Conn, limit time.Duration) error {
	if CloseWrite(conn) == nil {
		conn.SetReadDeadline(time.Now().Add(limit))
		AwaitFIN(conn)
	}
	return conn.Close()
}

// LingerBytes is how much a lingering close reads, enough for who sends all before
// he reads.
const LingerBytes = 4 << 20

// AwaitFIN is what Linger does between the FIN and the close: it reads and discards until
// the peer's FIN, but no longer than the read deadline, and no more than LingerBytes.
func AwaitFIN(conn net.Conn) {
	io.CopyN(io.Discard, struct{ io.Reader }{conn}, LingerBytes) // its end, of whatever kind, ends the wait
}

// CloseWithin closes conn with a FIN, once the peer has acknowledged all that was
// written, or after limit: then the kernel goes on sending by itself, as after
// every close. It is what close(2) does where SO_LINGER has a time (socket(7)). That
// call would hold a thread, though, and no Reset could cut it short, but any signal
// does (sk_stream_wait_close in Linux's net/core/stream.c), and the Go runtime sends
// its threads one when it wants them to let others run. So where the system tells how
// far the peer is, the wait is outside of it, and ends when conn is closed or Reset
// meanwhile. There, too, what the peer still sends until then is discarded, LingerBytes
// at most, from the socket itself: or the close would make a RST of it, which destroys
// what the peer has not acknowledged. Elsewhere it does.
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

// awaitAcknowledged asks the kernel, which tells nobody, less and less often.
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

// Reset closes conn with a RST, so that the peer sees an error and no end of
// the stream; what was not sent yet is thrown away, and no TIME_WAIT stays
// behind (socket(7), SO_LINGER with a time of 0). Wrapped connections are
// unwrapped by their NetConn method, as tls.Conn has it. Where there is no RST,
// as on unix sockets, it is an ordinary Close.
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

// ResetWhenSent is Reset, but waits until the peer has what was written before, unless
// it has taken nothing for as long as limit: a RST makes the kernel throw away what it
// still has to send.
func ResetWhenSent(conn net.Conn, limit time.Duration) error {
	if left := Unacknowledged(conn); left > 0 {
		timer, ticker := time.NewTimer(limit), time.NewTicker(sentEvery)
		defer timer.Stop()
		defer ticker.Stop()
		for over := false; !over && left > 0; {
			select {
			case <-ticker.C:
				if now := Unacknowledged(conn); now < left {
					left = now
					timer.Reset(limit)
				}
			case <-timer.C:
				over = true
			}
		}
	}
	return Reset(conn)
}

// sentEvery is how often ResetWhenSent asks the kernel, which tells nobody.
const sentEvery = 5 * time.Millisecond

// innermost is the connection inside the wrappers that have a NetConn method, up to
// the first that can be reset.
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
