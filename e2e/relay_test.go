package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"

	"wireline/handler"
	"wireline/tcp"
)

// relay is a proxy that is written with handler.Func and io.Copy, run as a process of its own.
// Its first argument is the upstream's address; a second one makes it expect the header of the
// PROXY protocol from its clients.
func relay() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	h := handler.Func(func(_ context.Context, conn net.Conn) {
		up, err := net.Dial("tcp", os.Args[1])
		if err != nil {
			return
		}
		defer up.Close()
		var back sync.WaitGroup
		back.Go(func() {
			io.Copy(conn, up)
			conn.(*handler.Conn).CloseWrite()
		})
		io.Copy(up, conn)
		up.(*net.TCPConn).CloseWrite()
		back.Wait()
	})
	h.OnRecord = handler.LogRecords(log)
	cfg := tcp.Config{Address: "127.0.0.1:0", Log: log}
	if len(os.Args) > 2 {
		cfg.ProxyProtocol, cfg.ProxyProtocolTrusted = tcp.ProxyProtocolRequired, []string{"127.0.0.1"}
	}
	if err := tcp.ListenAndServe(&cfg, h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}
