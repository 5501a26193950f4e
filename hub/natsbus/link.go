package natsbus

import (
	"cmp"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/hub"
)

// link is what the bus knows about its connection.
type link struct {
	bus *Bus

	// up is whether messages can be sent now: there is a connection, and its server answers.
	up atomic.Bool

	// epoch counts the connections that were begun. What a message that has arrived says about a
	// claim holds for the epoch in which the claim was checked.
	epoch atomic.Uint64

	// clustered is whether the server is one of a cluster. It is kept here because methods of a
	// nats.Conn may wait for a write.
	clustered atomic.Bool

	// failed is why the last dial after a first one has failed; nats.go does not keep it.
	failed atomic.Pointer[error]

	// Of the last ping:
	asked     atomic.Bool // it has been sent
	answered  atomic.Bool
	roundTrip atomic.Int64 // nanoseconds

	// For the ticker alone:
	missed   int   // ticks without a sign of life since the last ping
	received int64 // Bus.in at the last tick
	sent     int64 // outbox.sent at the last tick

	mu         sync.Mutex
	since      time.Time // of the last change of up
	reconnects int64
	first      chan struct{} // closed when there is a connection for the first time
	connected  bool          // there was one
}

func (l *link) init(b *Bus) {
	l.bus, l.since, l.first = b, time.Now(), make(chan struct{})
	l.answered.Store(true)
}

// set notes whether messages can be sent, and reports whether that has changed.
func (l *link) set(up bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bus.ctx.Err() != nil || l.up.Load() == up {
		return false
	}
	l.up.Store(up)
	l.since = time.Now()
	switch {
	case !up:
	case !l.connected:
		l.connected = true
		close(l.first)
	default:
		l.reconnects++
	}
	return true
}

func (l *link) stats(s *hub.BusStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Connected, s.Since, s.Reconnects = l.up.Load(), l.since, l.reconnects
	s.RoundTrip = time.Duration(l.roundTrip.Load())
}

// hasConnected reports whether there was a connection.
func (l *link) hasConnected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected
}

// await waits for the first connection and the first lease, but not for longer than timeout.
func (l *link) await(timeout time.Duration, owner *ownership) {
	ctx, cancel := context.WithTimeout(l.bus.ctx, timeout)
	defer cancel()
	select {
	case <-l.first:
	case <-ctx.Done():
	}
	if owner != nil {
		select {
		case <-owner.ready:
		case <-ctx.Done():
		}
	}
}

// connect makes the connection, which may come later.
func (b *Bus) connect() (*nats.Conn, error) {
	opts := nats.GetDefaultOptions()
	for url := range strings.SplitSeq(cmp.Or(b.URL, nats.DefaultURL), ",") {
		opts.Servers = append(opts.Servers, strings.TrimSpace(url))
	}
	opts.ReconnectWait = 250 * time.Millisecond
	opts.ReconnectJitter = 250 * time.Millisecond
	for _, option := range b.Options {
		if err := option(&opts); err != nil {
			return nil, err
		}
	}
	opts.Name = cmp.Or(opts.Name, b.names.prefix+" "+b.id.String())
	opts.NoEcho = true
	opts.AllowReconnect, opts.RetryOnFailedConnect, opts.MaxReconnect = true, true, -1
	opts.IgnoreAuthErrorAbort = true
	opts.ReconnectBufSize = -1        // a message that cannot be sent fails now, and is not sent later
	opts.FlusherTimeout = b.timeout() // how long a write to the socket may take
	b.watchDials(&opts)
	b.watchEvents(&opts)
	return opts.Connect()
}

// warnIfAway says why there is no first connection yet. It may wait for a dial.
func (b *Bus) warnIfAway() {
	server, err := serverOf(b.nc), b.nc.LastError()
	if failed := b.link.failed.Load(); failed != nil {
		err = *failed
	}
	if !b.link.hasConnected() && b.ctx.Err() == nil {
		b.log().Warn("cannot connect to NATS yet", "server", server, "err", err)
	}
}

// serverOf says for a log which server a connection has or wants, without what is secret in its URL.
func serverOf(nc *nats.Conn) string {
	if nc.Opts.InProcessServer != nil { // the URL is not used then
		return "in this process"
	}
	if connected := nc.ConnectedUrlRedacted(); connected != "" {
		return connected
	}
	var servers []string
	for _, server := range nc.Servers() {
		if at := strings.LastIndexByte(server, '@'); at >= 0 {
			server = server[at+1:] // without the user and the password, or a token
		}
		servers = append(servers, server)
	}
	return strings.Join(servers, ",")
}

// watchDials counts epochs. A dial comes before all that arrives by its connection; nats.go calls the
// functions for events later, in a goroutine of their own.
func (b *Bus) watchDials(opts *nats.Options) {
	switch {
	case opts.InProcessServer != nil:
		opts.InProcessServer = countingServer{opts.InProcessServer, &b.link.epoch}
	case opts.CustomDialer != nil:
		opts.CustomDialer = countingDialer{opts.CustomDialer, &b.link.epoch}
	default:
		opts.CustomDialer = countingDialer{dialerOf(opts), &b.link.epoch}
	}
}

// dialerOf returns the dialer that nats.go would use if it had no other one.
func dialerOf(opts *nats.Options) *net.Dialer {
	dialer := net.Dialer{Timeout: opts.Timeout}
	if opts.Dialer != nil {
		dialer = *opts.Dialer
	}
	if opts.AllowMultipathTCP != nil {
		dialer.SetMultipathTCP(*opts.AllowMultipathTCP)
	}
	return &dialer
}

// countingDialer counts the calls of a dialer.
type countingDialer struct {
	nats.CustomDialer
	n *atomic.Uint64
}

func (d countingDialer) Dial(network, address string) (net.Conn, error) {
	d.n.Add(1)
	return d.CustomDialer.Dial(network, address)
}

// SkipTLSHandshake passes on what nats.go asks a dialer.
func (d countingDialer) SkipTLSHandshake() bool {
	skipper, ok := d.CustomDialer.(interface{ SkipTLSHandshake() bool })
	return ok && skipper.SkipTLSHandshake()
}

// countingServer counts the connections to a server in this process.
type countingServer struct {
	nats.InProcessConnProvider
	n *atomic.Uint64
}

func (s countingServer) InProcessConn() (net.Conn, error) {
	s.n.Add(1)
	return s.InProcessConnProvider.InProcessConn()
}

// watchEvents has the bus and the user's own functions called for the events of the connection.
func (b *Bus) watchEvents(opts *nats.Options) {
	connected, reconnected := opts.ConnectedCB, opts.ReconnectedCB
	disconnected, async := disconnectedOf(opts), opts.AsyncErrorCB
	failed := opts.ReconnectErrCB
	opts.ConnectedCB = func(nc *nats.Conn) {
		b.connected(nc)
		if connected != nil {
			connected(nc)
		}
	}
	opts.ReconnectedCB = func(nc *nats.Conn) {
		b.connected(nc)
		if reconnected != nil {
			reconnected(nc)
		}
	}
	opts.DisconnectedErrCB = func(nc *nats.Conn, err error) {
		b.disconnected(err)
		if disconnected != nil {
			disconnected(nc, err)
		}
	}
	opts.ReconnectErrCB = func(nc *nats.Conn, err error) {
		b.link.failed.Store(&err)
		if failed != nil {
			failed(nc, err)
		}
	}
	opts.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		b.asyncError(sub, err)
		if async != nil {
			async(nc, sub, err)
		}
	}
}

// disconnectedOf returns the user's function for the end of a connection; nil if there is none.
func disconnectedOf(opts *nats.Options) nats.ConnErrHandler {
	// nats.go does not call the older one of the two when the other is set.
	old := opts.DisconnectedCB
	if opts.DisconnectedErrCB != nil || old == nil {
		return opts.DisconnectedErrCB
	}
	return func(nc *nats.Conn, _ error) { old(nc) }
}

// connected is called when there is a connection. The subscriptions have been sent again.
func (b *Bus) connected(nc *nats.Conn) {
	b.maxPayload.Store(nc.MaxPayload())
	b.link.clustered.Store(nc.ConnectedClusterName() != "")
	if b.link.set(true) {
		b.log().Info("connected to NATS", "server", serverOf(nc))
	}
	b.sendBeat(b.names.all())
	b.recheck()
}

// disconnected is called when the connection has ended, or does not answer.
func (b *Bus) disconnected(err error) {
	if b.link.set(false) {
		b.log().Warn("NATS is away", "err", err)
	}
	b.calls.fail(errCut, false) // their answers may be lost
}

// ping asks the server for a sign of life, once in a heartbeat. A server that gives none for Timeout
// counts as away, and another connection is tried. Ticks are counted, and not time: if this process
// was stopped, the answer may be there already.
func (b *Bus) ping() {
	l := &b.link
	switch received, sent := b.in.Load(), b.outbox.sent.Load(); {
	case l.answered.Load():
		l.missed = 0
		b.sendPing()
	case !l.up.Load():
		l.answered.Store(true)
	case received != l.received || !l.asked.Load() && sent != l.sent: // something comes, or the ping waits in a queue that moves
		l.missed, l.received, l.sent = 0, received, sent
	default:
		l.missed++
		if l.missed > int(b.timeout()/b.heartbeat())+1 {
			l.answered.Store(true)
			b.disconnected(nats.ErrStaleConnection)
			b.loops.Go(func() { b.nc.ForceReconnect() }) // it may wait for a write
		}
	}
}

// sendPing sends a question that nobody gets: the server itself answers so.
func (b *Bus) sendPing() {
	start := time.Now()
	k, err := b.calls.begin(func(a answer) {
		if a.err == errNobody {
			b.link.roundTrip.Store(int64(time.Since(start)))
		}
		b.link.answered.Store(true)
	})
	if err != nil {
		return
	}
	b.link.answered.Store(false)
	b.link.asked.Store(false)
	b.outbox.do(func(nc *nats.Conn) {
		if err := nc.PublishRequest(b.names.nobody(), b.replyTo(k.id), nil); err != nil {
			b.calls.answer(k.id, answer{err: errCut})
		}
		b.link.asked.Store(true)
	})
}
