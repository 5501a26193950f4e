package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/atomic"

	"wireline/admin"
	"wireline/config"
	"wireline/lib/logger"
	"wireline/tcp"
)

const (
	// listenTimeout bounds how long a reload may take to open listeners.
	listenTimeout = 10 * time.Second

	// releaseTime is for how long an address may be in use that an earlier reload has given up: what
	// is in the queue of its listener is accepted before that is closed. releasePause is the time
	// between two attempts to listen on it.
	releaseTime  = 3 * time.Second
	releasePause = 50 * time.Millisecond
)

// state is a configuration, with where its values come from.
type state struct {
	cfg    *Config
	loaded *config.Loaded
}

// reloader reads the configuration again while the program runs, and applies what has changed, all
// of it or nothing.
type reloader struct {
	options config.Options
	group   *tcp.Group
	maker   *maker
	watcher *watcher

	now atomic.Pointer[state] // in force

	mu   sync.Mutex
	next *flight // has not begun yet; or nil

	running  chan struct{}          // full while a reload is under way; guards what follows
	servers  map[string]*tcp.Server // by the names of the services
	released time.Time              // when a reload has given up an address for the last time
}

// flight is a reload, and what came of it.
type flight struct {
	done   chan struct{}
	result admin.ReloadResult
	err    error
}

// newReloader returns a reloader for the configuration that the program starts with, and makes
// the servers of its services.
func newReloader(first *state, options config.Options, file *configFile, g *tcp.Group, m *maker) *reloader {
	r := &reloader{options: options, group: g, maker: m, running: make(chan struct{}, 1), servers: make(map[string]*tcp.Server)}
	r.now.Store(first)
	for name, s := range first.cfg.all() {
		r.servers[name] = m.server(name, s)
	}
	r.watcher = &watcher{
		read:     func() ([]byte, error) { return readRegular(first.loaded.File()) },
		lastRead: file.lastRead,
		reload:   func() { r.reload("watch") },
		log:      m.log.Logger,
	}
	return r
}

// settings returns the configuration in force.
func (r *reloader) settings() any { return r.now.Load().loaded.Values() }

// reload reads the configuration again. There is one reload at a time. A call waits for the one
// that is under way, since that may have read the file already; those that wait together have the
// same reload. The log has the result. trigger says what has asked for it, for the log.
func (r *reloader) reload(trigger string) (admin.ReloadResult, error) {
	r.mu.Lock()
	if f := r.next; f != nil {
		r.mu.Unlock()
		<-f.done
		return f.result, f.err
	}
	f := &flight{done: make(chan struct{})}
	r.next = f
	r.mu.Unlock()
	defer close(f.done)

	r.running <- struct{}{}
	defer func() { <-r.running }()
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	began := time.Now()
	f.result, f.err = r.run()
	r.tell(f, slog.String("trigger", trigger), logger.Seconds("took", time.Since(began)))
	return f.result, f.err
}

var errStopping = errors.New("the program is about to stop")

// run is one reload.
func (r *reloader) run() (admin.ReloadResult, error) {
	next, kept, err := r.load()
	if err != nil {
		return admin.ReloadResult{}, err
	}
	now := r.now.Load()
	p := r.plan(now, next)
	p.result.Kept = kept
	if err := p.prepare(); err != nil {
		return admin.ReloadResult{}, blame(next.loaded, err)
	}
	p.changes.Commit = func() {
		if err := p.commit(); err != nil {
			r.maker.log.Error("a part of the configuration was not applied", "err", err.Error())
		}
		r.maker.setLog(now.cfg.Log, next.cfg.Log)
	}
	switch err := r.change(p.changes); {
	case errors.Is(err, tcp.ErrServerClosed):
		return admin.ReloadResult{}, errStopping
	case err != nil:
		return admin.ReloadResult{}, blame(next.loaded, err)
	}
	r.servers = p.servers
	if p.releases {
		r.released = time.Now()
	}
	r.now.Store(next)
	r.watcher.set(next.cfg.Reload.Watch)
	return p.result, nil
}

// change changes the group. If a reload has given up an address a moment ago, it waits for an address
// that is in use.
func (r *reloader) change(c tcp.Changes) error {
	ctx, cancel := context.WithTimeout(context.Background(), listenTimeout)
	defer cancel()
	for {
		err := r.group.Change(ctx, c)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(r.released) > releaseTime {
			return err
		}
		time.Sleep(releasePause)
	}
}

// load reads the configuration and checks it as at the start. What cannot change has its old value
// in it; kept are the keys of those that differ.
func (r *reloader) load() (next *state, kept []string, err error) {
	next = &state{cfg: new(Config)}
	if next.loaded, err = config.Load(next.cfg, r.options); err != nil {
		return nil, nil, err
	}
	now := r.now.Load()
	if err := refuseLoss(now, next); err != nil {
		return nil, nil, err
	}
	kept, err = next.loaded.Keep(now.loaded, fixed(now, next)...)
	if err != nil {
		return nil, nil, fmt.Errorf("this does not go together with what cannot change until a restart: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := next.cfg.checkUpstreams(ctx, r.maker.warn(next.loaded)); err != nil {
		return nil, nil, blame(next.loaded, err)
	}
	return next, kept, nil
}

// refuseLoss reports a file that may have been emptied or cut short: one that sets nothing, or
// without services and address. The service without a name would go to the default address, which
// is on all interfaces.
func refuseLoss(now, next *state) error {
	refuse := func(key, text string) error {
		return &config.Error{Key: key, Source: "file " + next.loaded.File(), Err: errors.New(text)}
	}
	if next.loaded.FileIsEmpty() && !now.loaded.FileIsEmpty() {
		return refuse("", "is empty")
	}
	if len(next.cfg.Services) > 0 || next.loaded.IsSet("tcp.address") {
		return nil
	}
	if len(now.cfg.Services) > 0 {
		return refuse("services", "has no service any more: a service without a name needs tcp.address")
	}
	if address := next.cfg.TCP.Address; now.cfg.TCP.Address != address {
		return refuse("tcp.address", fmt.Sprintf("is not set any more: a reload changes to %q, the default, only if it is set", address))
	}
	return nil
}

// tell tells the log what came of a reload.
func (r *reloader) tell(f *flight, attrs ...any) {
	log, result := r.maker.log, &f.result
	if f.err != nil {
		log.Error("reload failed, nothing has changed", append(attrs, "err", oneLine(f.err))...)
		return
	}
	if len(result.Kept) > 0 {
		log.Warn("cannot change until a restart", "keys", strings.Join(result.Kept, ","))
	}
	if result.IsEmpty() {
		log.Info("reloaded, nothing has changed", attrs...)
		return
	}
	attrs = append(attrs, "changed", len(result.Changed), "added", len(result.Added), "removed", len(result.Removed), "kept", len(result.Kept))
	for _, names := range []struct {
		key  string
		list []string
	}{{"keys", result.Changed}, {"new_services", result.Added}, {"old_services", result.Removed}} {
		if len(names.list) > 0 {
			attrs = append(attrs, names.key, strings.Join(names.list, ","))
		}
	}
	log.Info("reloaded", attrs...)
}

// oneLine returns the text of err, whose lines are errors of their own, in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
