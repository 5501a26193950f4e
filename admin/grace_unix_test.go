//go:build unix

package admin_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/admin"
	"wireline/echo"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// In the grace delay a balancer sees that the server is about to stop, while the server still
// accepts clients.
func TestReadyInGrace(t *testing.T) {
	testutil.SilenceLog(t)
	server := &tcp.Server{Config: tcp.Config{Address: "127.0.0.1:0", GraceDelay: time.Hour, DrainTimeout: time.Second}, Handler: echo.New(echo.Config{})}
	group := &tcp.Group{Servers: []*tcp.Server{server}, Signals: []os.Signal{syscall.SIGUSR1}}
	h := newHouse(t, func(s *admin.Server) { s.Servers, s.Group = nil, group })
	if status, body := h.do("GET", "/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("before the start: %d %s", status, body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- group.Run(ctx) }()
	testutil.Eventually(t, "readiness", func() bool {
		status, _ := h.do("GET", "/readyz", "")
		return status == http.StatusOK
	})
	cancel()
	testutil.Eventually(t, "the grace delay", func() bool {
		status, body := h.do("GET", "/readyz", "")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "default")
	})
	h.connectTo(server.Addrs()[0].String()).say(t, "new in the grace delay")
	if status, _ := h.do("GET", "/healthz", ""); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if m := h.scrape(); m[`wireline_ready{service="default"}`] != 0 || m[`wireline_connections_accepted_total{service="default"}`] != 1 {
		t.Errorf("the metrics: %v", m)
	}
	select {
	case err := <-done:
		t.Fatalf("the group has ended: %v", err)
	default:
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil { // cuts the grace delay short
		t.Fatal(err)
	}
	if err := testutil.Await(t, "the end of the group", done); !errors.Is(err, tcp.ErrCut) {
		t.Error(err)
	}
}
