package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"wireline/admin"
	"wireline/internal/testutil"
)

// A program's own paths are behind the same checks, and take none of the admin side's.
func TestExtra(t *testing.T) {
	calls := 0
	h := newHouse(t, func(s *admin.Server) {
		s.Config.Token = "s3cret"
		s.Extra = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			io.WriteString(w, "extra "+r.URL.Path+" "+string(body))
		})
	})
	token := []string{"Authorization", "Bearer s3cret"}
	if status, body := h.do("POST", "/mine/x", "hello", token...); status != http.StatusOK || body != "extra /mine/x hello" {
		t.Errorf("%d %q", status, body)
	}
	if status, _ := h.do("POST", "/mine/x", strings.Repeat("x", 64<<10+1), token...); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of more than 64 KiB: %d", status)
	}
	for path, want := range map[string]string{"/": "<!doctype html>", "/healthz": "ok", "/api/services": "relay"} {
		if status, body := h.do("GET", path, "", token...); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d %.40q", path, status, body)
		}
	}
	calls = 0
	for _, test := range []struct {
		header []string
		want   int
	}{
		{nil, http.StatusUnauthorized},
		{append([]string{"Host", "evil.example"}, token...), http.StatusMisdirectedRequest},
		{append([]string{"Sec-Fetch-Site", "cross-site"}, token...), http.StatusForbidden},
		{append([]string{"Origin", "https://evil.example"}, token...), http.StatusForbidden},
	} {
		if status, _ := h.do("POST", "/mine", "", test.header...); status != test.want {
			t.Errorf("with %q: %d, want %d", test.header, status, test.want)
		}
	}
	if calls != 0 {
		t.Errorf("%d of these requests have reached the program", calls)
	}
}

// With MaxConns more connections are open at the same time than by default: the last one is answered
// while the others have not sent their requests yet.
func TestMaxConns(t *testing.T) {
	const conns = 65
	s := &admin.Server{Config: admin.Config{Address: "127.0.0.1:0"}, MaxConns: conns, Log: slog.New(slog.DiscardHandler)}
	ln, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	var all []net.Conn
	for range conns {
		all = append(all, testutil.Dial(t, "tcp", ln.Addr().String()))
	}
	for i := range all {
		conn := all[conns-1-i]
		io.WriteString(conn, "GET /healthz HTTP/1.0\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200") {
			t.Fatalf("connection %d: %.20q, %v", conns-1-i, answer, err)
		}
	}
	cancel()
	if err := testutil.Await(t, "the end of Serve", served); err != nil {
		t.Error(err)
	}
}
