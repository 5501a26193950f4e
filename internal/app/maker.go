package app

import (
	"io"

	"go.uber.org/atomic"

	"wireline/config"
	"wireline/echo"
	"wireline/handler"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// maker makes the servers of services, which share a log.
type maker struct {
	log         *logger.Log
	connections atomic.Bool // the log has a record of each connection
}

// newMaker returns a maker whose log writes to w.
func newMaker(w io.Writer, cfg logger.Config) (*maker, error) {
	log, err := logger.New(w, cfg)
	if err != nil {
		return nil, err
	}
	m := &maker{log: log}
	m.connections.Store(cfg.Connections)
	return m, nil
}

// warn returns a function that logs the errors of upstreams whose names have no address now.
func (m *maker) warn(loaded *config.Loaded) func(error) {
	return func(err error) { m.log.Warn("upstream not found", "err", blame(loaded, err)) }
}

// server returns the server of a service.
func (m *maker) server(name string, s *Service) *tcp.Server {
	server := &tcp.Server{Config: s.TCP, Name: name}
	server.Log = m.log.Logger
	log := m.log.Logger
	if name != "" {
		log = log.With("service", name)
	}
	all, failures := handler.LogRecords(log), handler.LogFailures(log)
	record := func(r handler.Record) {
		if m.connections.Load() {
			all(r)
		} else {
			failures(r)
		}
	}
	if s.isProxy() {
		server.Handler = &proxy.Proxy{Config: s.Proxy, Log: log, OnRecord: record}
		return server
	}
	h := echo.New(s.Echo)
	h.OnRecord = record
	server.Handler = h
	return server
}

// setLog changes the log. A level that the admin side has set stays, unless the level in the
// configuration has changed.
func (m *maker) setLog(from, to logger.Config) {
	m.connections.Store(to.Connections)
	if to.Level == from.Level {
		_ = m.log.SetFormat(to.Format) // it is valid
		return
	}
	_ = m.log.Set(to)
}
