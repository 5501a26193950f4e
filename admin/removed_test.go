package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"wireline/admin"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// A service that was removed is listed until it has drained, with a name of its own if another
// service has its name now. Its connections can be ended, and it does not count for /readyz.
func TestRemovedService(t *testing.T) {
	holds, goOn := make(chan struct{}), make(chan struct{})
	service := func() *tcp.Server {
		cfg := tcp.Config{Address: "127.0.0.1:0", DrainTimeout: testutil.Patience, Log: slog.New(slog.DiscardHandler)}
		return &tcp.Server{Name: "line", Config: cfg, Handler: &handler.Frames{OnFrame: func(*handler.Client, []byte) error {
			close(holds)
			<-goOn
			return nil
		}}}
	}
	before, after := service(), service()
	group := &tcp.Group{Servers: []*tcp.Server{before}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- group.Run(ctx) }()
	h := newHouse(t, func(s *admin.Server) { s.Servers, s.Group = nil, group })
	testutil.Eventually(t, "the service", before.Ready)
	client := testutil.Dial(t, "tcp", before.Addrs()[0].String())
	io.WriteString(client, "hold\n")
	testutil.Await(t, "the frame", holds)

	if err := group.Change(t.Context(), tcp.Changes{Add: []*tcp.Server{after}, Remove: []*tcp.Server{before}}); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(group.Leaving()); !slices.Equal(got, []*tcp.Server{before}) {
		t.Errorf("leaving: %v", got)
	}
	list := h.list("/api/services", "services")
	if len(list) != 2 || list[0]["name"] != "line" || list[0]["state"] != nil || list[1]["name"] != "line-2" || list[1]["state"] != "removed" {
		t.Errorf("services: %v", list)
	}
	testutil.Eventually(t, "the drain", func() bool { return !before.Ready() })
	if status, body := h.do("GET", "/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
	if conns := h.list("/api/connections?service=line-2", "connections"); len(conns) != 1 || conns[0]["id"] != 1.0 {
		t.Errorf("connections: %v", conns)
	}
	if _, body := h.do("GET", "/metrics", ""); !strings.Contains(body, `wireline_connections{service="line-2"} 1`) {
		t.Error("the removed service has no metrics")
	}
	if status, body := h.do("DELETE", "/api/connections/line-2/1", ""); status != http.StatusOK {
		t.Errorf("kill: %d %s", status, body)
	}
	close(goOn)
	testutil.Eventually(t, "the end of the drain", func() bool { return len(h.list("/api/services", "services")) == 1 })
	const sum = `wireline_connections_ended_total{by="server",reason="kicked",service="line-2"} 1`
	if _, body := h.do("GET", "/metrics", ""); !strings.Contains(body, sum) || !strings.Contains(body, `wireline_connections{service="line-2"} 0`) {
		t.Errorf("metrics after the drain: %s", body)
	}
	if before.Drained().Cut != 0 || len(slices.Collect(group.Leaving())) > 0 {
		t.Errorf("drained: %+v", before.Drained())
	}
	if err := group.Change(t.Context(), tcp.Changes{}); err != nil {
		t.Fatal(err)
	}
	if _, body := h.do("GET", "/metrics", ""); strings.Contains(body, `service="line-2"`) {
		t.Error("the next change has not forgotten the removed service")
	}
	stop()
	if err := testutil.Await(t, "the end of the group", ended); err != nil {
		t.Errorf("Run: %v", err)
	}
}
