package admin

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"wireline/handler"
	"wireline/hub"
	"wireline/lib/logger"
	"wireline/tcp"
)

// Limits of the admin side's own connections.
const (
	maxConns      = 64 // unless Server.MaxConns is set
	maxHeader     = 16 << 10
	maxBody       = 64 << 10
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	reloadTimeout = 2 * time.Minute // of a request for a reload, until its answer is written
	idleTimeout   = 10 * time.Second
	shutdownGrace = time.Second
)

// Server is the admin side of a program. It is an http.Handler, with the paths as they are in
// docs/admin.md; a program that serves it itself gives it its own mux:
//
//	mux.Handle("/", &admin.Server{Servers: []*tcp.Server{server}})
//
// Set the fields before the first use. All methods are safe for concurrent use. Each answer is
// complete before its first byte is written, and holds nothing up.
type Server struct {
	// Config says where ListenAndServe listens, and who may use it. Its Token, TokenFile and Hosts
	// apply to ServeHTTP too.
	Config Config

	// Group has the servers that are shown, as they come and go; those that were removed until they
	// have drained. Nil means none.
	Group *tcp.Group

	// Servers are shown besides those of Group.
	Servers []*tcp.Server

	// Hubs are shown too, and the keys of clients that have joined them.
	Hubs []*hub.Hub

	// Extra, if set, answers the requests for paths that the admin side does not have: an API of
	// the program's own. It is behind the same checks, which limit bodies to 64 KiB too. A request
	// has 10 seconds to arrive, and its answer is written within 30; a handler that takes longer sets
	// another deadline, by http.ResponseController.SetWriteDeadline.
	Extra http.Handler

	// MaxConns limits the connections that Listen has open at the same time; more wait. Zero means
	// 64. Set it if Extra has requests that wait.
	MaxConns int

	// Settings, if set, returns the configuration in force, without secrets; it is shown as
	// JSON.
	Settings func() any

	// Reload, if set, loads the configuration again. Its error says why nothing has changed, or which
	// part could not be changed. The context does not end when the client goes away.
	Reload func(ctx context.Context) (ReloadResult, error)

	// Level, if set, is the level of the log, which a request can change.
	Level *slog.LevelVar

	// Version is that of the program, for the metric wireline_build_info and the page.
	Version string

	// Log is told what is changed by requests. Nil means slog.Default(). Nobody waits for it.
	Log *slog.Logger

	once    sync.Once
	handler http.Handler
	rates   rates
	turns   chan struct{} // see inTurn
}

// service is a server with the name under which it is shown.
type service struct {
	*tcp.Server
	name    string
	removed bool // from the group; it drains
}

// handlers returns an iterator over the services whose connections can be seen.
func (s *Server) handlers() iter.Seq2[service, handler.Observed] {
	return func(yield func(service, handler.Observed) bool) {
		for _, x := range s.services() {
			if h := x.observed(); h != nil && !yield(x, h) {
				return
			}
		}
	}
}

// services returns the servers that are shown: first those that serve, and then those that were
// removed and drain.
func (s *Server) services() []service {
	serve, leave := s.servers()
	return named(serve, leave)
}

// counted returns services, and those that have drained since the last change of the group: their
// counts do not vanish before they were asked for.
func (s *Server) counted() []service {
	serve, leave := s.servers()
	if s.Group != nil {
		leave = slices.AppendSeq(leave, s.Group.Drained())
	}
	return named(serve, leave)
}

// servers returns those that serve, and those that were removed and drain.
func (s *Server) servers() (serve, leave []*tcp.Server) {
	serve = slices.Clone(s.Servers)
	if s.Group != nil {
		serve = slices.AppendSeq(serve, s.Group.All())
		leave = slices.Collect(s.Group.Leaving())
	}
	return serve, leave
}

// named gives each server a name of its own. One that moved on while they were asked for is in the
// lists twice.
func named(serve, leave []*tcp.Server) (list []service) {
	used := make(map[string]bool)
	seen := make(map[*tcp.Server]bool)
	for i, server := range slices.Concat(serve, leave) {
		removed := i >= len(serve)
		if removed && seen[server] {
			continue
		}
		seen[server] = true
		name := unused(cmp.Or(strings.ToValidUTF8(server.Name, "?"), "default"), used)
		used[name] = true
		list = append(list, service{server, name, removed})
	}
	return list
}

// current returns the services that were not removed.
func (s *Server) current() []service {
	return slices.DeleteFunc(s.services(), func(x service) bool { return x.removed })
}

// unused returns name, or if that is used, because servers are of different groups or of none, or one
// drains whose name another one has now, name with a number.
func unused(name string, used map[string]bool) string {
	unique := name
	for n := 2; used[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	return unique
}

func (s *Server) init() {
	s.once.Do(func() {
		s.rates.init()
		s.turns = make(chan struct{}, maxListings)
		s.handler = s.guard(s.routes())
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	s.handler.ServeHTTP(w, r)
}

// routes has all that can be asked for.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /api/services", s.listServices)
	mux.HandleFunc("GET /api/ends", s.listEnds)
	mux.HandleFunc("GET /api/connections", s.listConnections)
	mux.HandleFunc("DELETE /api/connections", s.endConnections)
	mux.HandleFunc("DELETE /api/connections/{service}/{id}", s.endConnection)
	mux.HandleFunc("GET /api/upstreams", s.listUpstreams)
	mux.HandleFunc("PUT /api/upstreams/{service}/{name}", s.setUpstream)
	mux.HandleFunc("GET /api/hubs", s.listHubs)
	mux.HandleFunc("GET /api/config", s.showConfig)
	mux.HandleFunc("POST /api/reload", s.reload)
	mux.HandleFunc("GET /api/log", s.showLevel)
	mux.HandleFunc("PUT /api/log", s.setLevel)
	mux.HandleFunc("GET /debug/pprof/{$}", listProfiles)
	mux.HandleFunc("GET /debug/pprof/{name}", serveProfile)
	mux.HandleFunc("GET /{$}", servePage)
	if s.Extra != nil {
		mux.Handle("/", s.Extra)
	}
	return mux
}

// ListenAndServe serves the admin side on Config.Address until ctx ends. Then it finishes the
// requests that are under way, for at most a second. It returns nil at once if there is no
// address, nil after the end of ctx, and otherwise what is wrong: a *tcp.StartError if it could
// not begin to serve.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if s.Config.Address == "" {
		return nil
	}
	ln, err := s.Listen(ctx)
	if err != nil {
		return &tcp.StartError{Err: err}
	}
	return s.Serve(ctx, ln)
}

// Start listens on Config.Address, and serves in the background until stop is called. stop finishes the
// requests that are under way, as ListenAndServe does, and returns after the last one; it may be called
// again. Without an address, Start and stop do nothing. The error is a *tcp.StartError. If serving fails
// later, the log says so.
func (s *Server) Start() (stop func(), err error) {
	if s.Config.Address == "" {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := s.Listen(ctx)
	if err != nil {
		cancel()
		return nil, &tcp.StartError{Err: err}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, ln); err != nil {
			s.log().Error("admin side failed", "err", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}, nil
}

// Listen listens on Config.Address, which must be set. The caller gives the result to Serve, or
// closes it.
func (s *Server) Listen(ctx context.Context) (net.Listener, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if _, err := s.Config.token(); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	secure, err := s.Config.tlsConfig(s.Log)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	cfg := s.Config.Listener()
	ln, err := tcp.Listen(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	limit := maxConns
	if s.MaxConns > 0 {
		limit = s.MaxConns
	}
	ln = netutil.LimitListener(ln, limit)
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	return ln, nil
}

// Serve is ListenAndServe on a listener, which it closes.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.log().Info("admin", "addr", ln.Addr().String())
	server := &http.Server{
		Handler:        s,
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(s.log().Handler(), slog.LevelWarn),
	}
	stopped := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		server.Shutdown(grace)
		server.Close()
	})
	err := server.Serve(ln)
	if !unwatch() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) log() *slog.Logger { return logger.Async(s.Log) }
