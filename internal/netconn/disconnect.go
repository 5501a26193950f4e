package netconn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// IsDisconnect reports whether err is one of the ordinary ways in which a
// connection ends or stalls: the end of the stream, a reset, a broken pipe, a
// timeout, our own Close, or, under TLS, an alert or bytes that are not TLS. Such an end
// is worth a record, not an alarm.
func IsDisconnect(err error) bool {
	for _, ordinary := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, os.ErrDeadlineExceeded,
		syscall.ETIMEDOUT, errTimedOut,
	} {
		if errors.Is(err, ordinary) {
			return true
		}
	}
	return IsReset(err) || isTLS(err)
}

// isTLS reports whether err is about what the peer sent under TLS rather than about the
// network: package tls reports it as an alert, sent or received, or as a bad record.
func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var op *net.OpError
	return errors.As(err, &record) || errors.As(err, &op) && (op.Op == "local error" || op.Op == "remote error")
}
