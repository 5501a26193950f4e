package app

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"

	"wireline/admin"
	"wireline/echo"
	"wireline/handler"
	"wireline/proxy"
	"wireline/tcp"
)

// defaultName is how the service without a name is shown, as the admin side does.
const defaultName = "default"

// plan is what a reload does.
type plan struct {
	servers  map[string]*tcp.Server // after it, by the names of the services
	changes  tcp.Changes
	handlers []handlerChange // besides changes
	commits  []commit        // of handlers, after prepare
	result   admin.ReloadResult

	releases bool // a server may give up its address
}

// commit changes the handler of a service. It fails only if the handler was shut down, or if somebody
// else has changed it since it was prepared.
type commit func() error

// handlerChange prepares the change of one handler.
type handlerChange struct {
	section string                 // the path of the handler's section, as package config names fields
	prepare func() (commit, error) // does what can fail
}

// prepare does all that can fail with handlers. Nothing changes before commit.
func (p *plan) prepare() error {
	var problems []error
	for _, h := range p.handlers {
		c, err := h.prepare()
		if err != nil {
			problems = append(problems, within(h.section, err))
			continue
		}
		p.commits = append(p.commits, c)
	}
	return errors.Join(problems...)
}

// commit does what was prepared. It returns the errors of what could not be done, but for handlers that
// are shut down: then the program stops.
func (p *plan) commit() error {
	var errs []error
	for _, c := range p.commits {
		if err := c(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// plan returns what makes the configuration from that in force into to.
func (r *reloader) plan(from, to *state) *plan {
	p := &plan{
		servers: make(map[string]*tcp.Server),
		changes: tcp.Changes{Set: make(map[*tcp.Server]tcp.Config)},
	}
	before, after := from.cfg.all(), to.cfg.all()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		server, was := r.servers[name], before[name]
		if was == nil {
			server = r.maker.server(name, after[name])
			p.changes.Add = append(p.changes.Add, server)
			p.result.Added = append(p.result.Added, shownName(name))
		} else {
			p.change(server, was, after[name], r.maker.log.Logger)
		}
		p.servers[name] = server
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] == nil {
			p.releases = true
			p.changes.Remove = append(p.changes.Remove, r.servers[name])
			p.result.Removed = append(p.result.Removed, shownName(name))
		}
	}
	p.changes.CheckListener = func(s *tcp.Server, addr net.Addr) error { return p.checkListener(s, addr, after) }
	for _, key := range to.loaded.Changed(from.loaded) {
		if !isService(key) {
			p.result.Changed = append(p.result.Changed, key)
		}
	}
	return p
}

// checkListener reports a proxy that would be its own upstream at a new address, with the upstreams
// that it is about to get; its handler has the old ones until commit. after are the services.
func (p *plan) checkListener(s *tcp.Server, addr net.Addr, after map[string]*Service) error {
	service := after[s.Name]
	if service == nil || !service.isProxy() {
		return nil
	}
	return service.Proxy.CheckListener(addr.Network(), addr.String())
}

// change adds what changes a service.
func (p *plan) change(server *tcp.Server, was, now *Service, log *slog.Logger) {
	if !reflect.DeepEqual(was.TCP, now.TCP) {
		cfg := now.TCP
		cfg.Log = log
		p.changes.Set[server] = cfg
		p.releases = p.releases || was.TCP.Network != now.TCP.Network || was.TCP.Address != now.TCP.Address
	}
	switch h := server.Handler.(type) {
	case *proxy.Proxy:
		if !reflect.DeepEqual(was.Proxy, now.Proxy) {
			prepare := func() (commit, error) { return h.Prepare(now.Proxy) }
			p.handlers = append(p.handlers, handlerChange{fieldOf(server.Name, "Proxy"), prepare})
		}
	case *handler.Frames:
		if !reflect.DeepEqual(was.Echo, now.Echo) {
			next := echo.New(now.Echo)
			prepare := func() (commit, error) {
				return func() error { return h.Reconfigure(next) }, next.Validate()
			}
			p.handlers = append(p.handlers, handlerChange{fieldOf(server.Name, "Echo"), prepare})
		}
	}
}

// fixed returns the keys and sections that keep their values until a restart.
func fixed(from, to *state) []string {
	names := []string{"admin"}
	after := to.cfg.all()
	for name, was := range from.cfg.all() {
		now := after[name]
		if now == nil {
			continue
		}
		if now.Handler != was.Handler { // the section of the old handler may be gone
			names = append(names, keyOf(name, "handler"), keyOf(name, was.Handler))
		}
		for _, field := range was.TCP.Fixed(&now.TCP) {
			names = append(names, to.loaded.Key(keyOf(name, "tcp"), field))
		}
	}
	return names
}

// keyOf is a key of a service, or the name of a section of it.
func keyOf(service, name string) string {
	if service == "" {
		return name
	}
	return "services." + service + "." + name
}

// isService reports whether a name is that of a whole service, such as services.redis.
func isService(name string) bool {
	prefix, service, ok := strings.Cut(name, ".")
	return ok && prefix == "services" && !strings.Contains(service, ".")
}

func shownName(service string) string { return cmp.Or(service, defaultName) }
