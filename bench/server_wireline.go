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

	"wireline/admin"
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
	srv, err := wirelineServer(w, cfg)
	if err != nil {
		return err
	}
	return serveUntil(ctx, ln, srv)
}

// wirelineWithAdmin is the same with an admin side.
func wirelineWithAdmin(w work) (clients, side service, err error) {
	srv, err := wirelineServer(w, nil)
	if err != nil {
		return nil, nil, err
	}
	a := &admin.Server{Servers: []*tcp.Server{srv}, Log: srv.Log}
	return func(ctx context.Context, ln net.Listener) error { return serveUntil(ctx, ln, srv) }, a.Serve, nil
}

func wirelineServer(w work, cfg *tls.Config) (*tcp.Server, error) {
	log, err := logger.New(io.Discard, logger.Config{})
	if err != nil {
		return nil, err
	}
	h := wirelineHandler(w)
	h.OnRecord = handler.LogRecords(log.Logger)
	return newServer(h, log.Logger, cfg), nil
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
	x.Log, x.OnRecord = log.Logger, handler.LogRecords(log.Logger)
	return serveUntil(ctx, ln, newServer(x, log.Logger, cfg))
}

func newServer(h handler.Handler, log *slog.Logger, cfg *tls.Config) *tcp.Server {
	return &tcp.Server{
		Config: tcp.Config{
			MaxClients: 100_000, MaxClientsPerIP: 100_000, Log: log,
			HandshakeTimeout: floodBound, // a flood has no core to itself
		},
		Handler:   h,
		TLSConfig: cfg,
	}
}

func serveUntil(ctx context.Context, ln net.Listener, srv *tcp.Server) error {
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
	if w.hasMembers() {
		h.OnFrame = newHall(w).serve
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
