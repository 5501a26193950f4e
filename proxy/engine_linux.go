package proxy

import (
	"context"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/eventloop"
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

var _ handler.SocketRegistrar = (*Proxy)(nil)

// RegisterSocket implements handler.SocketRegistrar: the client and its upstream are
// relayed by an event loop.
func (x *Proxy) RegisterSocket(ctx context.Context, fd int, session handler.Session) bool {
	g := x.engine.Group()
	if g == nil {
		return false
	}
	if seconds, ok := handler.CloseModeOf(ctx).Linger(); ok && seconds > 0 {
		// close(2) would hold up the loop; see netconn.CloseWithin.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, new(unix.Linger))
	}
	p := newPair(x, g, fd, session)
	if !x.links.Add(p) {
		p.refuse()
		session.Done()
		return true
	}
	x.Start()
	c := x.choose(session.RemoteAddr)
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
