//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"wireline/echo"
	"wireline/handler"
	"wireline/lib/frame"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// serveWireline is a server of the framework with production settings: limits, timeouts, and a
// record of every connection, which is formatted and discarded. The other servers have none of
// these.
func serveWireline(ctx context.Context, ln net.Listener, w work, cfg *tls.Config) error {
	log, err := logger.New(io.Discard, logger.Config{})
	if err != nil {
		return err
	}
	h := wirelineHandler(w)
	h.OnRecord = handler.LogRecords(log)
	return serveHandler(ctx, ln, h, log, cfg)
}

// relayWireline is the program's proxy with its defaults: timeouts for idle pairs and for the
// connect, and a record of every pair. The limits are on here, too.
func relayWireline(ctx context.Context, ln net.Listener, upstream netip.AddrPort, cfg *tls.Config) error {
	log, err := logger.New(io.Discard, logger.Config{})
	if err != nil {
		return err
	}
	x := &proxy.Proxy{Config: proxy.Config{
		Upstreams:      []string{upstream.String()},
		ConnectTimeout: 5 * time.Second,
		IdleTimeout:    time.Hour,
	}}
	x.Log, x.OnRecord = log, handler.LogRecords(log)
	return serveHandler(ctx, ln, x, log, cfg)
}

func serveHandler(ctx context.Context, ln net.Listener, h handler.Handler, log *slog.Logger, cfg *tls.Config) error {
	srv := tcp.Server{
		Config: tcp.Config{
			MaxClients: 100_000, MaxClientsPerIP: 100_000, Log: log,
			HandshakeTimeout: floodBound, // a flood has no core to itself
		},
		Handler:   h,
		TLSConfig: cfg,
	}
	if err := srv.Serve(ctx, ln); !errors.Is(err, tcp.ErrServerClosed) {
		return err
	}
	return nil
}

// serveWirelinePlain is the same with a goroutine per connection instead of event loops.
func serveWirelinePlain(ctx context.Context, ln net.Listener, w work, cfg *tls.Config) error {
	return serveWireline(ctx, plainListener{ln}, w, cfg)
}

// wirelineHandler is package echo unchanged if the work is only to echo.
func wirelineHandler(w work) *handler.Frames {
	h := echo.New(echo.Config{
		IdleTimeout:  time.Minute,
		FrameTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second,
	})
	if w == framing {
		h.Codec = frame.Length{Max: maxFrame}
		h.OnFrame = func(c *handler.Client, payload []byte) error { return c.WriteFrame(payload) }
	}
	if w.sleeps() {
		h.OnOpen = func(c *handler.Client) error { c.Value = new(int); return nil }
		h.OnFrame = func(c *handler.Client, line []byte) error {
			seen := c.Value.(*int)
			*seen++
			w.pause(line, *seen)
			_, err := c.Write(line)
			return err
		}
	}
	return h
}

// plainListener hides the listener's type, so that the server cannot accept bare sockets from
// it.
type plainListener struct{ net.Listener }
