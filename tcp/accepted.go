package tcp

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	stdatomic "sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/transport"
)

// accepted is a connection that a server has accepted. It implements handler.Accepted.
// The handler keeps it for the life of the connection, and an idle connection has little
// else: so it is small (TestAcceptedIsSmall), and what few connections need is in extra.
// For the same reason its atomics are those of sync/atomic: the others take eight bytes
// each.
type accepted struct {
	from  *terms
	extra stdatomic.Pointer[extra] // nil for a plain socket; replaced, never changed

	// The client's address, which the limit per address counts; valid if kind has hasIP.
	ip   [16]byte
	zone uint32 // the number of the interface, of a link-local address
	port uint16

	kind kind
	fd   int32 // the bare socket; -1 if there is none
	over stdatomic.Bool
}

// kind is what is known of a connection.
type kind uint8

const (
	hasIP    kind = 1 << iota // the client has an IP address
	overUnix                  // the connection came over a unix socket
	taken                     // the handler has the bare socket
	counted                   // the limit per address counts the connection
	late                      // the server had begun to stop when the handler got the connection
)

// extra is what an accepted connection has if it is more than a socket. Every idle client with
// TLS has one.
type extra struct {
	conn net.Conn  // nil for a bare socket
	tls  *tls.Conn // over conn, after the handshake
	told *told     // nil if there is nothing
}

// told is what was told of a connection. It is not changed.
type told struct {
	// The PROXY header, and the two addresses that it names; nil if it names none.
	header        *proxyproto.Header
	local, remote net.Addr

	name string // of a peer on a unix socket
}

// remote is the client's address that a header has named, or nil.
func (e *extra) remote() net.Addr {
	if e.told == nil {
		return nil
	}
	return e.told.remote
}

var _ handler.Accepted = (*accepted)(nil)

// newAccepted returns a connection that was accepted as a net.Conn.
func newAccepted(from *terms, conn net.Conn) *accepted {
	a := &accepted{from: from, fd: -1}
	a.extra.Store(&extra{conn: conn})
	switch addr := conn.RemoteAddr().(type) {
	case *net.UnixAddr:
		a.kind = overUnix
		if addr.Name != "@" { // package net's name of a socket that has none
			a.setMore(extra{conn: conn, told: &told{name: addr.Name}})
		}
	case *net.TCPAddr:
		a.setIP(addr)
		a.port = uint16(addr.Port)
	}
	return a
}

// more returns a copy of what the connection has in extra.
func (a *accepted) more() extra {
	if e := a.extra.Load(); e != nil {
		return *e
	}
	return extra{}
}

func (a *accepted) setMore(e extra) { a.extra.Store(&e) }

// setIP notes the IP address of the client; addr may be nil.
func (a *accepted) setIP(addr *net.TCPAddr) {
	a.kind &^= hasIP
	if ip := addr.AddrPort().Addr(); ip.IsValid() {
		a.ip, a.kind = ip.As16(), a.kind|hasIP
	}
}

// clientIP is the address that the limit per address counts, without its zone: the one
// that a PROXY header has named, if one has. It is not valid for unix sockets.
func (a *accepted) clientIP() netip.Addr {
	if a.kind&hasIP == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a.ip).Unmap()
}

// peer is the client's address for the log.
func (a *accepted) peer() string {
	if addr := a.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// takeHeader takes the PROXY header h off the connection, and gives the connection the
// addresses that h names.
func (a *accepted) takeHeader(h header) error {
	if err := a.skip(h.size); err != nil {
		return err
	}
	e := a.more()
	t := told{header: h.Header}
	if e.told != nil {
		t.name = e.told.name
	}
	if local, remote := h.addrs(); remote != nil {
		t.local, t.remote = local, remote
		addr, _ := remote.(*net.TCPAddr)
		a.setIP(addr)
	}
	e.told = &t
	a.setMore(e)
	if e.conn != nil {
		a.setConn(e.conn)
	}
	return nil
}

// Context implements handler.Accepted.
func (a *accepted) Context() context.Context {
	e := a.extra.Load()
	if e == nil || e.told == nil && e.tls == nil {
		return a.from.ctx
	}
	return preambleContext{a.from.ctx, e}
}

// preambleContext has what ProxyHeader and TLSState look for.
type preambleContext struct {
	context.Context
	extra *extra
}

func (c preambleContext) Value(key any) any {
	switch {
	case key == headerKey{} && c.extra.told != nil && c.extra.told.header != nil:
		return c.extra.told.header
	case key == tlsKey{} && c.extra.tls != nil:
		return c.extra.tls
	}
	return c.Context.Value(key)
}

// LocalAddr implements handler.Accepted.
func (a *accepted) LocalAddr() net.Addr {
	switch e := a.extra.Load(); {
	case e == nil:
	case e.remote() != nil:
		return e.told.local
	case e.conn != nil:
		return e.conn.LocalAddr()
	}
	return a.from.ln.Addr()
}

// RemoteAddr implements handler.Accepted.
func (a *accepted) RemoteAddr() net.Addr {
	e := a.extra.Load()
	switch {
	case e == nil:
	case e.remote() != nil:
		return e.remote()
	case e.conn != nil:
		return e.conn.RemoteAddr()
	}
	if a.kind&hasIP != 0 {
		addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.clientIP(), a.port))
		addr.Zone = netconn.Zone(a.zone)
		return addr
	}
	addr := &net.UnixAddr{Net: "unix"}
	if e != nil && e.told != nil {
		addr.Name = e.told.name
	}
	return addr
}

// Network implements handler.Accepted.
func (a *accepted) Network() string {
	switch e := a.extra.Load(); {
	case a.kind&overUnix != 0:
		return "unix"
	case e != nil && e.conn != nil:
		return e.conn.LocalAddr().Network()
	}
	return "tcp"
}

// CloseMode implements handler.Accepted.
func (a *accepted) CloseMode() handler.CloseMode { return a.from.mode }

// Memory implements handler.Accepted.
func (a *accepted) Memory() *handler.Memory { return a.from.memory }

// TLS implements handler.Accepted.
func (a *accepted) TLS() *tls.Conn { return a.more().tls }

// Conn implements handler.Accepted.
func (a *accepted) Conn() (net.Conn, error) {
	e := a.more()
	if e.conn == nil {
		if err := a.makeConn(); err != nil {
			return nil, err
		}
		if t := transport.Of(e.tls); t != nil {
			t.SetBase(a.more().conn)
		}
	}
	return a.current(), nil
}

// current is the net.Conn that the connection is now; nil for a bare socket.
func (a *accepted) current() net.Conn {
	e := a.more()
	if e.tls != nil {
		return e.tls
	}
	return e.conn
}

// setConn makes conn the connection. It gets the addresses that a header has named.
func (a *accepted) setConn(conn net.Conn) {
	e := a.more()
	e.conn = conn
	if e.remote() != nil {
		e.conn = withAddrs(conn, addrs{e.told.local, e.told.remote})
	}
	a.setMore(e)
}

// setTLS makes conn, which is over the connection, the connection.
func (a *accepted) setTLS(conn *tls.Conn) {
	e := a.more()
	e.tls = conn
	a.setMore(e)
}

// Panicked implements handler.Accepted.
func (a *accepted) Panicked(v any) { a.from.server.reportPanic(a.peer(), v) }

// FirstInput implements drain.Latecomer. The drain's timeout must not cut a silent client.
func (a *accepted) FirstInput() time.Time {
	if a.kind&late == 0 {
		return time.Time{}
	}
	d := &a.from.server.drain
	return d.began.Add(min(d.preambleGrace()+firstInputTime, d.limit/2))
}

// Local implements probe.Announced.
func (a *accepted) Local() bool {
	e := a.extra.Load()
	return e != nil && e.told != nil && e.told.header != nil && e.told.header.Command.IsLocal()
}

// Probed implements probe.Counter. A header LOCAL was counted when it came.
func (a *accepted) Probed() {
	if !a.Local() {
		a.from.server.stats.probes.Add(1)
	}
}

// Done implements handler.Accepted.
func (a *accepted) Done() {
	if a.over.Swap(true) {
		return
	}
	s := a.from.server
	s.admission.leave(a.from.settings, a.countedIP())
	s.serving.Done()
}

// countedIP is the address for which the connection counts. It is not valid if there is none.
func (a *accepted) countedIP() netip.Addr {
	if a.kind&counted == 0 {
		return netip.Addr{}
	}
	return a.clientIP()
}

// Recount counts the connection, which was hijacked, as a client again: handler.ServeConn serves it. The
// place that it had may be another client's by now. Then there are more than MaxClients, and none is
// accepted until there is a place again. A stop does not wait for it.
func (a *accepted) Recount() (uncount func()) {
	s := a.from.server
	s.admission.enterAgain(a.from.settings, a.countedIP())
	s.stats.recounted.Add(1)
	return func() {
		s.stats.recounted.Add(-1)
		s.admission.leave(a.from.settings, a.countedIP())
	}
}
