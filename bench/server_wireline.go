//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"wireline/echo"
	"wireline/handler"
	"wireline/lib/logger"
	"wireline/tcp"
)

// serveWireline is the echo server of the framework with what one would run it
// with: limits, time-outs, and a record of every connection, formatted and
// thrown away. The others have none of these.
func serveWireline(ctx context.Context, ln net.Listener) error {
	log, err := logger.New(io.Discard, logger.Config{})
	if err != nil {
		return err
	}
	h := echo.New(echo.Config{
		IdleTimeout:  time.Minute,
		FrameTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second,
	})
	h.OnRecord = handler.LogRecords(log)
	srv := tcp.Server{
		Config:  tcp.Config{MaxClients: 100_000, MaxClientsPerIP: 100_000, Log: log},
		Handler: h,
	}
	if err := srv.Serve(ctx, ln); !errors.Is(err, tcp.ErrServerClosed) {
		return err
	}
	return nil
}
