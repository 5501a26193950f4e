package admin_test

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"wireline/admin"
	"wireline/tcptest"
)

// A request whose body does not arrive is answered after the read timeout.
func TestBodyStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := tcptest.Listen()
		side := &admin.Server{Config: admin.Config{Token: "s3cret"}, Level: new(slog.LevelVar), Log: slog.New(slog.DiscardHandler)}
		served := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { served <- side.Serve(ctx, ln) }()
		defer func() {
			stop()
			<-served
		}()
		conn, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tcptest.Send(t, conn, "PUT /api/log HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\nContent-Length: 10\r\n\r\n{")
		began := time.Now()
		conn.SetReadDeadline(time.Time{})
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took != 10*time.Second {
			t.Errorf("status %d after %v", resp.StatusCode, took)
		}
	})
}
