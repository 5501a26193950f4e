package sock

import (
	"errors"
	"net"
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

// Reset closes conn with a RST, so that the peer sees an error and no end of
// the stream; what was not sent yet is thrown away, and no TIME_WAIT stays
// behind (socket(7), SO_LINGER with a time of 0). Wrapped connections are
// unwrapped by their NetConn method, as tls.Conn has it. Where there is no RST,
// as on unix sockets, it is an ordinary Close.
func Reset(conn net.Conn) error {
	for inner := conn; inner != nil; {
		if l, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			l.SetLinger(0) // fails only on a closed connection, as Close then does
			return inner.Close()
		}
		w, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = w.NetConn()
	}
	return conn.Close()
}
