package tcp

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pires/go-proxyproto"

	"wireline/internal/netconn"
	"wireline/lib/field"
)

// ProxyProtocol says whether connections begin with a header of the PROXY protocol
// (haproxy.org/download/2.9/doc/proxy-protocol.txt), in which a balancer names the
// client that it relays.
type ProxyProtocol string

const (
	// ProxyOff takes every first byte for the client's. It is what the empty
	// string means.
	ProxyOff ProxyProtocol = "off"
	// ProxyOptional reads a header of a trusted peer's if there is one.
	ProxyOptional ProxyProtocol = "optional"
	// ProxyRequired resets every connection that does not begin with a trusted
	// peer's header.
	ProxyRequired ProxyProtocol = "required"
)

// defaultHeaderTimeout bounds the wait for a header when Config.ProxyHeaderTimeout is
// zero.
const defaultHeaderTimeout = 5 * time.Second

// The sizes of headers: the longest line of version 1 (section 2.1), the fixed part of
// version 2 (section 2.2), and the most that may follow it here: the addresses, and 4
// KiB of TLVs, where a client's certificate fits.
const (
	maxLine   = 107
	fixedSize = 16
	maxRest   = 4096
)

// leastBuffer is the least receive buffer with which headers work: they are peeked at,
// so the longest must fit into it, and the kernel needs some room for itself.
const leastBuffer = 8 << 10

var (
	errNoHeader  = errors.New("no PROXY header")
	errUntrusted = errors.New("PROXY header required, and the peer is not trusted")

	// errBegun is of a header that begins as such, and is not all there yet;
	// errCutShort is of one that is not to be.
	errBegun    = fmt.Errorf("PROXY header: %w", io.ErrUnexpectedEOF)
	errCutShort = errors.New("PROXY header: cut short")
)

// announcing is what a server wants of the PROXY protocol.
type announcing struct {
	mode    ProxyProtocol // off, optional or required
	trusted []netip.Prefix
	timeout time.Duration
}

func (c *Config) announcing() announcing {
	a := announcing{
		mode:    cmp.Or(c.ProxyProtocol, ProxyOff),
		timeout: cmp.Or(c.ProxyHeaderTimeout, defaultHeaderTimeout),
	}
	for _, text := range c.ProxyProtocolTrusted {
		if p, err := parsePrefix(text); err == nil {
			a.trusted = append(a.trusted, p)
		}
	}
	return a
}

func (a *announcing) known() bool {
	return a.mode == ProxyOff || a.mode == ProxyOptional || a.mode == ProxyRequired
}

// checkAnnouncing adds what is wrong with the settings to e.
func (c *Config) checkAnnouncing(e *field.Errors) {
	switch c.ProxyProtocol {
	case "", ProxyOff:
	case ProxyOptional, ProxyRequired:
		e.Check(len(c.ProxyProtocolTrusted) > 0 || c.Network == "unix", "ProxyProtocol", c.ProxyProtocol,
			"needs peers that are trusted: set proxy_protocol_trusted")
		e.Check(c.ReceiveBuffer <= 0 || c.ReceiveBuffer >= leastBuffer, "ReceiveBuffer", c.ReceiveBuffer,
			fmt.Sprintf("must be %d at least with the PROXY protocol", leastBuffer))
	default:
		e.Check(false, "ProxyProtocol", c.ProxyProtocol, "must be off, optional or required")
	}
	for _, text := range c.ProxyProtocolTrusted {
		_, err := parsePrefix(text)
		e.Check(err == nil, "ProxyProtocolTrusted", text, "must be a network as 10.0.0.0/8, or an address")
	}
	e.Check(c.ProxyHeaderTimeout >= 0, "ProxyHeaderTimeout", c.ProxyHeaderTimeout, "must not be negative")
}

// parsePrefix reads a network, as 10.0.0.0/8, or a single address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if addr := p.Addr(); err == nil && addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96) // as peers are
	}
	return p.Masked(), err
}

// trusts reports whether a header of that connection may be believed. Who can connect
// to a unix socket was let in by its folder's permissions.
func (a *announcing) trusts(from *arrival) bool {
	if from.isUnix() {
		return true
	}
	peer := from.ip()
	for _, p := range a.trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// header is one that was found, in the first size bytes of a connection.
type header struct {
	*proxyproto.Header
	size int
}

// firstWord begins a header of version 1, with the space: other protocols may have words
// that begin so.
var firstWord = append(proxyproto.SIGV1[:len(proxyproto.SIGV1):len(proxyproto.SIGV1)], ' ')

// parseHeader looks at the first bytes of a connection. It returns errNoHeader if they
// begin none, io.ErrUnexpectedEOF if they are too few to say, errBegun, which is that
// too, if there is a header and not all of it, or what is wrong with the header.
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
	if err != nil {
		return header{}, fmt.Errorf("PROXY header: %w", err)
	}
	return header{h, size}, nil
}

// checkTLVs looks whether the TLVs of h can be read, so that a handler need not. What is
// in a header about the balancer's own connection is to be skipped, whatever it is
// (section 2.2).
func checkTLVs(h *proxyproto.Header) error {
	_, err := h.TLVs()
	if err != nil && h.Command.IsLocal() {
		return h.SetTLVs(nil)
	}
	return err
}

// begins reports whether b begins as sig does, as far as b goes.
func begins(b, sig []byte) bool { return bytes.HasPrefix(b, sig[:min(len(b), len(sig))]) }

// atEnd is what parseHeader's io.ErrUnexpectedEOF means when no more comes. What is there
// of a header is not for the handler, which would take it for the client's.
func atEnd(err error) error {
	if err == errBegun {
		return errCutShort
	}
	return errNoHeader
}

// addrs are the two ends of the connection that was announced: nil where the header
// names none, as one about the balancer's own connection (LOCAL).
func (h header) addrs() (local, remote net.Addr) {
	if h.Header == nil || h.Command.IsLocal() || !h.TransportProtocol.IsStream() {
		return nil, nil
	}
	return h.DestinationAddr, h.SourceAddr
}

// headerKey is the context's key for ProxyHeader.
type headerKey struct{}

// ProxyHeader returns the header of the PROXY protocol that a connection began with,
// for the context that its handler has (Client.Context, or Handle's): its TLVs are
// there, and whole. Nil if there was none.
func ProxyHeader(ctx context.Context) *proxyproto.Header {
	h, _ := ctx.Value(headerKey{}).(*proxyproto.Header)
	return h
}

// with returns the context of a connection that began with h.
func (h header) with(ctx context.Context) context.Context {
	if h.Header == nil {
		return ctx
	}
	return context.WithValue(ctx, headerKey{}, h.Header)
}

// ends are the addresses that a header gave.
type ends struct{ local, remote net.Addr }

// announced is a connection with such addresses. Those below have beside net.Conn what
// the connection underneath has.
type announced struct {
	net.Conn
	ends ends
}

func (a announced) LocalAddr() net.Addr  { return a.ends.local }
func (a announced) RemoteAddr() net.Addr { return a.ends.remote }
func (a announced) NetConn() net.Conn    { return a.Conn }
func (a announced) CloseWrite() error    { return netconn.CloseWrite(a.Conn) }

// announcedTCP and announcedUnix have Socket, too: their bytes are those of the socket
// in them, so a handler may use that for splice(2) or without waiting.
type announcedTCP struct {
	*net.TCPConn
	ends ends
}

func (a announcedTCP) LocalAddr() net.Addr  { return a.ends.local }
func (a announcedTCP) RemoteAddr() net.Addr { return a.ends.remote }
func (a announcedTCP) NetConn() net.Conn    { return a.TCPConn }
func (a announcedTCP) Socket() net.Conn     { return a.TCPConn }

type announcedUnix struct {
	*net.UnixConn
	ends ends
}

func (a announcedUnix) LocalAddr() net.Addr  { return a.ends.local }
func (a announcedUnix) RemoteAddr() net.Addr { return a.ends.remote }
func (a announcedUnix) NetConn() net.Conn    { return a.UnixConn }
func (a announcedUnix) Socket() net.Conn     { return a.UnixConn }

// announce gives conn the addresses of h, if it has any.
func (h header) announce(conn net.Conn) net.Conn {
	if local, remote := h.addrs(); remote != nil {
		return ends{local, remote}.announce(conn)
	}
	return conn
}

func (e ends) announce(conn net.Conn) net.Conn {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return announcedTCP{conn, e}
	case *net.UnixConn:
		return announcedUnix{conn, e}
	}
	return announced{conn, e}
}

// readAhead reads until it has seen whether there is a header, and leaves what it has
// read beyond it to be read again. It is for connections that cannot be peeked at.
func (a *arrival) readAhead() (header, error) {
	b := make([]byte, 0, fixedSize+maxRest)
	for {
		n, err := a.conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		h, parseErr := parseHeader(b)
		switch half := errors.Is(parseErr, io.ErrUnexpectedEOF); {
		case half && err == nil:
			continue
		case !half:
			err = parseErr
		case err == io.EOF, parseErr == errBegun && errors.Is(err, os.ErrDeadlineExceeded):
			err = atEnd(parseErr)
		}
		if rest := b[h.size:]; len(rest) > 0 {
			a.conn = &unread{Conn: a.conn, rest: rest}
		}
		h.size = 0 // it is taken
		return h, err
	}
}

// unread is a connection of which more was read than was wanted.
type unread struct {
	net.Conn
	rest []byte
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.rest) == 0 {
		return u.Conn.Read(p)
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// CloseWrite ends the one direction, where the connection underneath can do that.
func (u *unread) CloseWrite() error { return netconn.CloseWrite(u.Conn) }

// NetConn returns the connection underneath.
func (u *unread) NetConn() net.Conn { return u.Conn }
