package tcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
)

// The sizes of headers: the longest line of version 1 (section 2.1), the fixed part of
// version 2 (section 2.2), and the largest rest of it that this server takes: addresses
// and TLVs, among which there may be a client's certificate.
const (
	maxLine   = 107
	fixedSize = 16
	maxRest   = 4096
)

var (
	errNoHeader  = errors.New("no PROXY header")
	errUntrusted = errors.New("PROXY header required, and the peer is not trusted")

	// errNothing reports that the peer has closed the connection without a byte.
	errNothing = fmt.Errorf("%w: closed without a byte", errNoHeader)

	// errBegun reports that a header has begun and the rest has not arrived yet,
	// errCutShort that the rest will not come.
	errBegun    = fmt.Errorf("PROXY header: %w", io.ErrUnexpectedEOF)
	errCutShort = errors.New("PROXY header: cut off")
)

// header is a header that was found in the first size bytes of a connection.
type header struct {
	*proxyproto.Header
	size int
}

// firstWord is the beginning of a header of version 1. The space belongs to it: other
// protocols may have longer words that begin like this.
var firstWord = append(proxyproto.SIGV1[:len(proxyproto.SIGV1):len(proxyproto.SIGV1)], ' ')

// parseHeader looks for a header in the first bytes of a connection. It returns
// errNoHeader if there is none, io.ErrUnexpectedEOF if there are too few bytes to tell,
// errBegun (which wraps io.ErrUnexpectedEOF) if a header has begun, or what is wrong with
// the header.
func parseHeader(b []byte) (header, error) {
	size := 0
	switch {
	case len(b) < len(firstWord) && begins(b, firstWord), len(b) < len(proxyproto.SIGV2) && begins(b, proxyproto.SIGV2):
		return header{}, io.ErrUnexpectedEOF
	case begins(b, firstWord):
		i := bytes.IndexByte(b, '\n')
		if i < 0 && len(b) < maxLine {
			return header{}, errBegun
		}
		if size = i + 1; i < 0 || size > maxLine {
			return header{}, fmt.Errorf("PROXY header: no end of line within %d bytes", maxLine)
		}
	case begins(b, proxyproto.SIGV2):
		if len(b) < fixedSize {
			return header{}, errBegun
		}
		rest := int(binary.BigEndian.Uint16(b[fixedSize-2:]))
		if rest > maxRest {
			return header{}, fmt.Errorf("PROXY header: %d bytes, the maximum is %d", fixedSize+rest, fixedSize+maxRest)
		}
		if size = fixedSize + rest; len(b) < size {
			return header{}, errBegun
		}
	default:
		return header{}, errNoHeader
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b[:size]), fixedSize+maxRest))
	if err == nil {
		err = checkTLVs(h)
	}
	if err == nil && h.Version == 2 && !h.Command.IsLocal() {
		err = checkChecksum(b[:size])
	}
	if err != nil {
		return header{}, fmt.Errorf("PROXY header: %w", err)
	}
	return header{h, size}, nil
}

// checkTLVs checks that the TLVs of h can be read, so that a handler need not. A header
// about the balancer's own connection may contain anything: its TLVs are skipped (section
// 2.2).
func checkTLVs(h *proxyproto.Header) error {
	_, err := h.TLVs()
	if err != nil && h.Command.IsLocal() {
		return h.SetTLVs(nil)
	}
	return err
}

// begins reports whether b, as far as it goes, begins like sig.
func begins(b, sig []byte) bool { return bytes.HasPrefix(b, sig[:min(len(b), len(sig))]) }

// atEnd returns what parseHeader's io.ErrUnexpectedEOF means when no more bytes come. The
// handler must not see a part of a header: it would take it for the client's.
func atEnd(err error) error {
	if err == errBegun {
		return errCutShort
	}
	return errNoHeader
}

// addrs returns the addresses of the client's connection to the balancer. They are nil if
// the header names none, as a header about the balancer's own connection (LOCAL).
func (h header) addrs() (local, remote net.Addr) {
	if h.Header == nil || h.Command.IsLocal() || !h.TransportProtocol.IsStream() {
		return nil, nil
	}
	return h.DestinationAddr, h.SourceAddr
}

// headerKey is the context key of ProxyHeader.
type headerKey struct{}

// ProxyHeader returns the header of the PROXY protocol that a connection began with, with
// all its TLVs; nil if there was none. ctx is the context that the connection's handler
// has: that of Client.Context, or of Handle.
func ProxyHeader(ctx context.Context) *proxyproto.Header {
	h, _ := ctx.Value(headerKey{}).(*proxyproto.Header)
	return h
}
