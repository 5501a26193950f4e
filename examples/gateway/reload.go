package main

import (
	"context"
	"strings"

	"wireline/admin"
)

// reload is called for SIGHUP and by the HTTP side. Either the whole configuration is good and is
// applied, or nothing changes. The log says which.
func (p *program) reload(ctx context.Context) (admin.ReloadResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	result, err := p.apply(ctx)
	if err != nil {
		p.log.Error("reload failed, nothing has changed", "err", strings.ReplaceAll(err.Error(), "\n", "; "))
		return result, err
	}
	p.log.Info("reloaded", "changed", strings.Join(result.Changed, ","), "kept", strings.Join(result.Kept, ","))
	return result, nil
}

func (p *program) apply(ctx context.Context) (result admin.ReloadResult, err error) {
	next, err := p.load()
	if err != nil {
		return result, err
	}
	now := p.now.Load()
	cfg := next.cfg
	if result.Kept, err = next.loaded.Keep(now.loaded, fixed(now, &next)...); err != nil {
		return result, err
	}
	result.Changed = next.loaded.Changed(now.loaded)
	service := newService(p.gateway, cfg.Devices, cfg.Log, p.collectors.get(cfg.Devices.Collector))
	if err := service.frames.Validate(); err != nil {
		return result, err
	}
	cfg.TCP.Log = p.log.Logger
	if err := p.server.Reconfigure(ctx, cfg.TCP); err != nil { // an address that is taken, say
		return result, next.loaded.Blame(err, "tcp")
	}
	// The rest cannot fail: Validate has checked the frames, and load the log.
	if err := p.first.frames.Reconfigure(&service.frames); err != nil {
		return result, err
	}
	p.api.settings.Store(&cfg.Devices)
	p.now.Store(&next)
	return result, p.log.Set(cfg.Log)
}

// fixed returns the keys that keep their values until a restart.
func fixed(now, next *state) []string {
	keys := []string{
		"admin",           // its listener and its checks are made once
		"nats",            // as is the hub
		"devices.second",  // the same
		"log.connections", // OnRecord stays that of the first service
	}
	for _, field := range now.cfg.TCP.Fixed(&next.cfg.TCP) {
		keys = append(keys, next.loaded.Key("tcp", field))
	}
	return keys
}
