package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wireline/handler"
	"wireline/internal/drain"
	"wireline/internal/netconn"
	"wireline/lib/sync/wait"
)

// closeTimeout is the bound of Close.
const closeTimeout = 10 * time.Second

// Proxy is a Handler that relays each client to an upstream. Make one with New, and
// set its fields before the first client.
type Proxy struct {
	// OnRecord is called once for each client, when it has ended, and from any
	// goroutine; it must not panic. Nil is handler.LogFailures on Log.
	OnRecord func(handler.Record)

	// Log is told when an upstream goes down or comes up. Nil is slog.Default().
	Log *slog.Logger

	cfg       Config
	upstreams []*upstream
	turn      atomic.Uint64
	lastID    atomic.Uint64

	once       sync.Once
	mu         sync.Mutex
	ended      bool // under mu: no goroutine may begin
	links      drain.Set[link]
	ctx        context.Context // of connects and of what runs beside; ends with stop
	stop       context.CancelFunc
	background wait.Wait
	engine     engine
}

var (
	_ handler.Handler    = (*Proxy)(nil)
	_ handler.Shutdowner = (*Proxy)(nil)
	_ handler.Acceptor   = (*Proxy)(nil)
	_ handler.Starter    = (*Proxy)(nil)
)

// ErrNoUpstreams is what Validate returns for a proxy without any.
var ErrNoUpstreams = errors.New("proxy: no upstreams")

// New returns a proxy. It does nothing before Start or its first client; what is
// wrong with cfg is for Validate to say.
func New(cfg Config) *Proxy {
	x := &Proxy{cfg: cfg}
	x.ctx, x.stop = context.WithCancel(context.Background())
	for i, name := range cfg.Upstreams {
		x.upstreams = append(x.upstreams, newUpstream(x, i, name))
	}
	return x
}

// Validate reports what is wrong with the configuration. tcp.ListenAndServe asks it
// before it listens.
func (x *Proxy) Validate() error {
	if len(x.upstreams) == 0 {
		return ErrNoUpstreams
	}
	return x.cfg.Validate()
}

// Start implements handler.Starter: the pools are filled, and the upstreams looked
// at, if that is set up. The first client does the same.
func (x *Proxy) Start() {
	x.once.Do(func() {
		for _, u := range x.upstreams {
			if x.cfg.Pool.Size > 0 {
				x.run(u.pool.fill)
			}
			if x.cfg.Health.Interval > 0 {
				x.run(u.health.check)
			}
		}
	})
}

// run runs f in a goroutine that the proxy's end waits for; after that end, when its
// context has ended, here.
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

// end has all goroutines end, and waits for them.
func (x *Proxy) end() {
	x.mu.Lock()
	x.ended = true
	x.mu.Unlock()
	x.stop()
	x.background.Wait()
}

// Handle implements handler.Handler.
func (x *Proxy) Handle(ctx context.Context, conn net.Conn) { handler.ServeConn(ctx, conn, x) }

// Accept implements handler.Acceptor: the client and its upstream are relayed by an event
// loop if the client is a bare socket, by goroutines otherwise.
func (x *Proxy) Accept(a handler.Accepted) {
	if !x.acceptSocket(a) {
		x.acceptConn(a)
	}
}

func (x *Proxy) acceptConn(a handler.Accepted) {
	conn, err := a.Conn()
	if err != nil {
		a.Done()
		return
	}
	if a.CloseMode().Limit() > 0 {
		netconn.SetLinger(conn, -1) // close(2) would wait
	}
	r := newRelay(x, conn)
	if !x.links.Add(r) {
		r.giveUp()
		netconn.Reset(conn)
		a.Done()
		return
	}
	x.Start()
	go r.run(a)
}

// Shutdown implements handler.Shutdowner. Clients that come from now on are refused.
// A pair on which nothing has moved for Config.DrainQuiet gets its FIN, both ways; the
// others go on until that is so. What is left when ctx ends is reset.
func (x *Proxy) Shutdown(ctx context.Context) error {
	err := x.links.Shutdown(ctx)
	x.links.Range(func(l link) bool { // their record, before the process ends
		l.leave()
		return true
	})
	x.end()
	for _, u := range x.upstreams {
		u.pool.close()
	}
	x.engine.Stop()
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
func (x *Proxy) Drained() handler.DrainStats { return x.links.Stats() }

// Len returns how many clients there are at this moment.
func (x *Proxy) Len() int { return x.links.Len() }

// Upstreams returns how the upstreams are doing, in the order of Config.Upstreams.
func (x *Proxy) Upstreams() []UpstreamStats {
	list := make([]UpstreamStats, len(x.upstreams))
	for i, u := range x.upstreams {
		list[i] = u.stats()
	}
	return list
}

// makeRoom closes a connection that waits in a pool, as a client needs its descriptor.
// It reports false if there is none.
func (x *Proxy) makeRoom() bool {
	for _, u := range x.upstreams {
		if u.pool.drop() {
			return true
		}
	}
	return false
}

func (x *Proxy) log() *slog.Logger {
	if x.Log == nil {
		return slog.Default()
	}
	return x.Log
}

func (x *Proxy) record(r handler.Record) {
	if x.OnRecord != nil {
		x.OnRecord(r)
		return
	}
	handler.LogFailures(x.log())(r)
}
