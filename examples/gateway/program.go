package main

import (
	"context"
	"sync"
	"sync/atomic"

	"wireline/admin"
	"wireline/hub"
	"wireline/lib/logger"
	"wireline/tcp"
)

// program is all that runs: the server for the devices, and the HTTP side.
type program struct {
	load    func() (state, error)
	now     atomic.Pointer[state] // the configuration in force
	log     *logger.Log
	gateway *gateway
	api     *api
	first   *service // its Frames is the handler of the server, and stays it
	group   tcp.Group
	server  *tcp.Server
	side    *admin.Server

	mu         sync.Mutex // held by a reload
	collectors *collectors
}

// maxConns is how many connections the HTTP side may have: those of the commands that wait for their
// devices, and as many as the admin side has by default.
const maxConns = maxCommands + 64

// newProgram returns a program that does not run yet. bus joins it to others, and may be nil. If there is a configuration file, SIGHUP and the
// HTTP side make it read the file again, by the function load. The caller calls close at the end.
func newProgram(first state, load func() (state, error), bus hub.Bus, log *logger.Log) *program {
	cfg := first.cfg
	p := &program{load: load, log: log, collectors: newCollectors(log.Logger)}
	p.now.Store(&first)
	p.gateway = newGateway(cfg.Devices.second(), bus, log.Logger)
	p.api = newAPI(p.gateway, &cfg.Devices)
	p.first = newService(p.gateway, cfg.Devices, cfg.Log, p.collectors.get(cfg.Devices.Collector))
	cfg.TCP.Log = log.Logger
	p.server = &tcp.Server{Config: cfg.TCP, Handler: &p.first.frames, OnDrain: p.gateway.stop}
	p.group.Servers = []*tcp.Server{p.server}
	p.side = &admin.Server{
		Config:   cfg.Admin,
		Group:    &p.group,
		Hubs:     []*hub.Hub{&p.gateway.hub},
		Extra:    p.api.routes(),
		MaxConns: maxConns,
		Settings: func() any { return p.now.Load().loaded.Values() },
		Level:    log.Level,
		Log:      log.Logger,
	}
	if first.loaded.File() != "" {
		p.group.OnReload = func() { p.reload(context.Background()) }
		p.side.Reload = p.reload
	}
	return p
}

// close releases what the devices have used. The server has stopped.
func (p *program) close() {
	p.gateway.hub.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.collectors.close()
}
