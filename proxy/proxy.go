package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wireline/handler"
	"wireline/internal/drain"
	"wireline/internal/eventloop"
	"wireline/internal/handshakes"
	"wireline/lib/field"
	"wireline/lib/logger"
	"wireline/lib/sync/wait"
)

const (
	// closeTimeout is the bound of Close.
	closeTimeout = 10 * time.Second

	// stopGrace bounds the wait for goroutines whose last pair has ended.
	stopGrace = 50 * time.Millisecond
)

// Proxy is a Handler that relays each client to an upstream. Set its fields before its
// first use; it must not be copied.
//
//	h := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"10.0.0.7:6379"}}}
type Proxy struct {
	// Config says where clients are relayed to, and how. It must name an upstream. After the
	// first use, Reconfigure changes what holds; Config stays as it is.
	Config Config

	// TLSConfig, if set, makes the proxy speak TLS to its upstreams, as a client with this
	// configuration, in the place of Config.TLS. Each upstream gets a copy. If it has no
	// ServerName, that is the host in the upstream's address; if it has no
	// ClientSessionCache, each upstream gets one. Its functions are called in any goroutine.
	// If one panics, or blocks until the connect has timed out, the connect has failed. As in
	// tcp.Server.TLSConfig, there are at most 1000 goroutines of functions that block.
	TLSConfig *tls.Config

	// OnRecord is called once for each client, when it has ended, and from any
	// goroutine; it must not panic. Nil is handler.LogFailures on Log.
	OnRecord func(handler.Record)

	// Log is told when an upstream goes down or comes up. Nil is slog.Default(). The proxy
	// does not wait for it: it writes to it by logger.Async.
	Log *slog.Logger

	made       sync.Once
	settings   atomic.Pointer[settings] // in force; nil before the first use
	turns      sync.Mutex               // orders round robin
	turn       atomic.Uint64
	lastID     atomic.Uint64
	pairs      drain.Set[*pair]
	ledger     handler.Ledger
	handshakes handshakes.Limiter // with upstreams; it bounds only how many hang
	pipes      pipes
	loops      eventloop.Lazy
	portables  wait.Wait // portable pollers that have not ended

	reloads sync.Mutex  // orders Reconfigure and Start
	changes sync.Mutex  // orders what changes upstreams; guards the fields below
	removed []*upstream // not in the settings any more, but some have pairs
	working bool        // Start was called
	closing bool        // Shutdown was called

	started    sync.Once
	mu         sync.Mutex
	ended      bool            // under mu: no goroutine may begin
	ctx        context.Context // of connects and background work; stop ends it
	stop       context.CancelFunc
	background wait.Wait
}

var (
	_ handler.Handler    = (*Proxy)(nil)
	_ handler.Shutdowner = (*Proxy)(nil)
	_ handler.Acceptor   = (*Proxy)(nil)
	_ handler.Starter    = (*Proxy)(nil)
	_ handler.Observed   = (*Proxy)(nil)
)

var (
	// ErrNoUpstreams is what Validate returns for a proxy without any.
	ErrNoUpstreams = errors.New("proxy: no upstreams")

	// ErrNoneTakesClients is in the record of a client that came while all upstreams were
	// drained, down by order, or of weight 0.
	ErrNoneTakesClients = errors.New("proxy: no upstream takes clients")
)

// init makes what the fields describe, at the first use.
func (x *Proxy) init() {
	x.made.Do(func() {
		x.ctx, x.stop = context.WithCancel(context.Background())
		x.settings.Store(x.newSettings(x.Config))
	})
}

// Validate reports what is wrong with the configuration. tcp.ListenAndServe asks it
// before it listens.
func (x *Proxy) Validate() error { return x.validate(&x.Config) }

// validate reports what is wrong with a configuration of the proxy.
func (x *Proxy) validate(cfg *Config) error {
	if len(cfg.Upstreams) == 0 {
		return ErrNoUpstreams
	}
	err := cfg.Validate()
	if x.TLSConfig != nil && !cfg.TLS.Enable {
		var e field.Errors
		cfg.checkPoolTLS(&e)
		err = errors.Join(err, e.Err())
	}
	return err
}

// Start implements handler.Starter: it reads the files of TLS, and begins to fill the pools and
// to check the upstreams, where that is configured. The first client does the same.
func (x *Proxy) Start() {
	x.init()
	x.started.Do(func() {
		x.reloads.Lock()
		defer x.reloads.Unlock()
		s := x.settings.Load()
		s.loadTLS(nil) // each handshake has the error
		x.changes.Lock()
		defer x.changes.Unlock()
		x.working = true
		for _, u := range s.upstreams {
			x.work(u)
		}
	})
}

// run calls f in a goroutine that Shutdown waits for. After Shutdown it calls f here, with
// a context that has ended.
func (x *Proxy) run(f func(context.Context)) {
	if !x.begin() {
		f(x.ctx)
		return
	}
	go func() {
		defer x.background.Done()
		f(x.ctx)
	}()
}

// begin reports whether one more goroutine may run.
func (x *Proxy) begin() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return false
	}
	x.background.Add(1)
	return true
}

// end ends the goroutines of run, and waits for them.
func (x *Proxy) end() {
	x.mu.Lock()
	x.ended = true
	x.mu.Unlock()
	x.stop()
	x.background.Wait()
}

// Handle implements handler.Handler.
func (x *Proxy) Handle(ctx context.Context, conn net.Conn) { handler.ServeConn(ctx, conn, x) }

// Accept implements handler.Acceptor.
func (x *Proxy) Accept(a handler.Accepted) {
	x.init()
	p := newPair(x.settings.Load(), a)
	if err := p.accept(); err != nil {
		a.Done()
		return
	}
	x.ledger.Open()
	if !x.pairs.Add(p) {
		x.ledger.Refuse()
		p.refuse()
		a.Done()
		return
	}
	x.Start()
	c := p.settings.choose(p)
	first := c.fromPool()
	if first.conn != nil {
		p.attach(first, nil)
		return
	}
	if first.upstream != nil && p.dial(c, first.upstream) {
		return
	}
	p.connect(func(ctx context.Context) (dialResult, error) { return c.connect(ctx, first) })
}

// Shutdown implements handler.Shutdowner. Clients that come from now on are refused.
// A pair on which nothing has moved for Config.DrainQuiet gets its FIN, both ways; the
// others go on until that is so. What is left when ctx ends is reset.
func (x *Proxy) Shutdown(ctx context.Context) error {
	x.init()
	x.changes.Lock()
	x.closing = true
	x.changes.Unlock()
	err := x.pairs.Shutdown(ctx)
	x.pairs.Range(func(p *pair) bool { // their record, before the process ends
		p.leave()
		return true
	})
	x.end()
	for _, u := range x.settings.Load().upstreams {
		u.pool.close()
	}
	x.loops.Stop()
	x.portables.WaitWithTimeout(stopGrace)
	x.pipes.close()
	return err
}

// Close is Shutdown with a bound of 10 seconds.
func (x *Proxy) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return x.Shutdown(ctx)
}

// Drained returns what Shutdown did with the clients, so far. Idle are those that
// were quiet when it began.
func (x *Proxy) Drained() handler.DrainStats { return handler.DrainStats(x.pairs.Stats()) }

// Len returns how many clients there are at this moment.
func (x *Proxy) Len() int { return x.pairs.Len() }

// Upstreams returns how the upstreams are doing, in the order of Config.Upstreams. After them come
// those that Reconfigure has removed, and that still have pairs.
func (x *Proxy) Upstreams() []UpstreamStats {
	x.init()
	all := x.known()
	list := make([]UpstreamStats, len(all))
	for i, u := range all {
		list[i] = u.stats()
	}
	return list
}

// makeRoom closes a connection that waits in a pool: a client needs its descriptor. It
// reports false if there is none.
func (x *Proxy) makeRoom() bool {
	for _, u := range x.settings.Load().upstreams {
		if u.pool.drop() {
			return true
		}
	}
	return false
}

// log is the log of the proxy, which nobody waits for.
func (x *Proxy) log() *slog.Logger { return logger.Async(x.Log) }

func (x *Proxy) record(r handler.Record) {
	if x.OnRecord != nil {
		x.OnRecord(r)
		return
	}
	handler.LogFailures(x.log())(r)
}
