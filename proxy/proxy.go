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
	// Config says where clients are relayed to, and how. It must name an upstream.
	Config Config

	// TLSConfig, if set, makes the proxy speak TLS to its upstreams, as a client with this
	// configuration, in the place of Config.TLS. Each upstream gets a copy. If it has no
	// ServerName, that is the host in the upstream's address; if it has no
	// ClientSessionCache, each upstream gets one. Its functions are called in any goroutine.
	// If one panics, or blocks until the connect has timed out, the connect has failed.
	TLSConfig *tls.Config

	// OnRecord is called once for each client, when it has ended, and from any
	// goroutine; it must not panic. Nil is handler.LogFailures on Log.
	OnRecord func(handler.Record)

	// Log is told when an upstream goes down or comes up. Nil is slog.Default(). The proxy
	// does not wait for it: it writes to it by logger.Async.
	Log *slog.Logger

	made        sync.Once
	upstreams   []*upstream
	turn        atomic.Uint64
	lastID      atomic.Uint64
	pairs       drain.Set[*pair]
	upstreamTLS upstreamTLS
	pipes       pipes
	loops       eventloop.Lazy
	dialOptions []dialOption // of Config; for sockets that an event loop connects
	portables   wait.Wait    // portable pollers that have not ended

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
)

// ErrNoUpstreams is what Validate returns for a proxy without any.
var ErrNoUpstreams = errors.New("proxy: no upstreams")

// init makes what the fields describe, at the first use.
func (x *Proxy) init() {
	x.made.Do(func() {
		x.ctx, x.stop = context.WithCancel(context.Background())
		x.upstreamTLS.proxy = x
		x.dialOptions = x.Config.dialOptions()
		for i, name := range x.Config.Upstreams {
			x.upstreams = append(x.upstreams, newUpstream(x, i, name))
		}
	})
}

// Validate reports what is wrong with the configuration. tcp.ListenAndServe asks it
// before it listens.
func (x *Proxy) Validate() error {
	if len(x.Config.Upstreams) == 0 {
		return ErrNoUpstreams
	}
	err := x.Config.Validate()
	if x.TLSConfig != nil && !x.Config.TLS.Enable {
		var e field.Errors
		x.Config.checkPoolTLS(&e)
		err = errors.Join(err, e.Err())
	}
	return err
}

// speaksTLS reports whether the proxy speaks TLS to its upstreams.
func (x *Proxy) speaksTLS() bool { return x.TLSConfig != nil || x.Config.TLS.Enable }

// Start implements handler.Starter: it reads the files of TLS, and begins to fill the pools and
// to check the upstreams, where that is configured. The first client does the same.
func (x *Proxy) Start() {
	x.init()
	x.started.Do(func() {
		if x.speaksTLS() {
			x.upstreamTLS.load()
		}
		for _, u := range x.upstreams {
			if x.Config.Pool.Size > 0 {
				x.run(u.pool.fill)
			}
			if x.Config.Health.Interval > 0 {
				x.run(u.health.check)
			}
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
	p := newPair(x, a)
	if err := p.accept(); err != nil {
		a.Done()
		return
	}
	if !x.pairs.Add(p) {
		p.refuse()
		a.Done()
		return
	}
	x.Start()
	c := x.choose(a.RemoteAddr)
	first := c.fromPool(p.header())
	if first.conn != nil {
		p.attach(first, nil)
		return
	}
	if first.upstream != nil && p.dial(c, first.upstream) {
		return
	}
	x.run(func(ctx context.Context) { p.attach(c.connect(ctx, first, p.header())) })
}

// Shutdown implements handler.Shutdowner. Clients that come from now on are refused.
// A pair on which nothing has moved for Config.DrainQuiet gets its FIN, both ways; the
// others go on until that is so. What is left when ctx ends is reset.
func (x *Proxy) Shutdown(ctx context.Context) error {
	x.init()
	err := x.pairs.Shutdown(ctx)
	x.pairs.Range(func(p *pair) bool { // their record, before the process ends
		p.leave()
		return true
	})
	x.end()
	for _, u := range x.upstreams {
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

// Upstreams returns how the upstreams are doing, in the order of Config.Upstreams.
func (x *Proxy) Upstreams() []UpstreamStats {
	x.init()
	list := make([]UpstreamStats, len(x.upstreams))
	for i, u := range x.upstreams {
		list[i] = u.stats()
	}
	return list
}

// makeRoom closes a connection that waits in a pool: a client needs its descriptor. It
// reports false if there is none.
func (x *Proxy) makeRoom() bool {
	for _, u := range x.upstreams {
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
