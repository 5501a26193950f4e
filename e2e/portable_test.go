package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"wireline/config"
	"wireline/echo"
	"wireline/handler"
	"wireline/internal/app"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
)

// portable is wireline on the portable poller, run as a process of its own: it serves all
// connections with goroutines, as on systems without event loops. It takes the flags of
// wireline, and serves until it is killed.
func portable() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailed)
		}
	}
	var cfg app.Config
	_, err := config.Load(&cfg, app.Options("", os.Args[1:], nil))
	fail(err)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg.TCP.Log = log
	var h handler.Handler
	if cfg.Handler == "proxy" {
		h = &proxy.Proxy{Config: cfg.Proxy, Log: log, OnRecord: handler.LogRecords(log)}
	} else {
		e := echo.New(cfg.Echo)
		e.OnRecord = handler.LogRecords(log)
		h = e
	}
	ln, err := tcp.Listen(context.Background(), &cfg.TCP)
	fail(err)
	log.Info("listening", "addr", ln.Addr().String())
	s := tcp.Server{Config: cfg.TCP, Handler: h}
	fail(s.Serve(context.Background(), testutil.PlainListener{Listener: ln}))
}
