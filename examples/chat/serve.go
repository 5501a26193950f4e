package main

import (
	"context"
	"errors"
	"io"

	"wireline/admin"
	"wireline/config"
	"wireline/hub"
	"wireline/lib/logger"
	"wireline/tcp"
)

// serve runs the server and its admin side until the process is told to stop. If it cannot begin, the
// error is a *tcp.StartError, and names the key that is to blame.
func serve(cfg *Config, loaded *config.Loaded, stderr io.Writer) error {
	log, err := logger.New(stderr, cfg.Log)
	if err != nil {
		return err
	}
	bus, stopNATS, err := openBus(&cfg.Chat, log.Logger)
	if err != nil {
		return &tcp.StartError{Err: loaded.Blame(err, "chat")}
	}
	defer stopNATS()
	chat := newServer(cfg, bus, log.Logger)
	defer chat.close()
	if err := chat.start(); err != nil {
		return &tcp.StartError{Err: loaded.Blame(err, "chat")}
	}
	cfg.TCP.Log = log.Logger
	group := &tcp.Group{Servers: []*tcp.Server{{
		Name:    "chat",
		Config:  cfg.TCP,
		Handler: &chat.frames,
		OnDrain: chat.announceEnd,
	}}}
	side := &admin.Server{
		Config: cfg.Admin,
		Group:  group,
		Hubs:   []*hub.Hub{&chat.hub},
		Level:  log.Level,
		Log:    log.Logger,
	}
	stopSide, err := side.Start()
	if err != nil {
		return &tcp.StartError{Err: loaded.Blame(err, "admin")}
	}
	defer stopSide()
	err = group.Run(context.Background())
	var start *tcp.StartError
	if errors.As(err, &start) {
		return &tcp.StartError{Err: loaded.Blame(start.Err, "tcp")}
	}
	return err
}
