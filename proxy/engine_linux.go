package proxy

import (
	"context"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/eventloop"
	"wireline/internal/netconn"
)

// engine has the event loops of a proxy, which start with the first socket, and what
// its pairs share.
type engine struct {
	eventloop.Lazy
	pipes pipes
}

// Stop ends the loops, when the last pair has left.
func (e *engine) Stop() {
	e.Lazy.Stop()
	e.pipes.close()
}

// acceptSocket relays a, and reports whether it does: not if a has no bare socket. An event
// loop relays it, or goroutines if there is no loop.
func (x *Proxy) acceptSocket(a handler.Accepted) bool {
	fd, ok := a.Socket()
	if !ok {
		return false
	}
	g := x.engine.Group()
	if g == nil {
		x.acceptConn(a) // it has a descriptor of its own
		netconn.RawClose(fd)
		return true
	}
	if a.CloseMode().Limit() > 0 {
		// close(2) would hold up the loop; see netconn.CloseWithin.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, new(unix.Linger))
	}
	p := newPair(x, g, fd, a)
	if !x.links.Add(p) {
		p.refuse()
		a.Done()
		return true
	}
	x.Start()
	c := x.choose(a.RemoteAddr)
	first := c.warm(p.header())
	if first.conn != nil {
		p.attach(first, nil)
		return true
	}
	if first.upstream != nil && p.dial(c, first.upstream) {
		return true
	}
	x.run(func(ctx context.Context) { p.attach(c.connect(ctx, first, p.header())) })
	return true
}
