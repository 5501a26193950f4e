package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/admin"
	"wireline/internal/testutil"
)

func TestLogLevel(t *testing.T) {
	h := newHouse(t)
	for _, method := range []string{"GET", "PUT"} {
		if status, _ := h.do(method, "/api/log", `{"level":"debug"}`); status != http.StatusNotFound {
			t.Errorf("%s without a level: %d", method, status)
		}
	}
	level := new(slog.LevelVar)
	h.admin.Level = level
	if status, body := h.do("PUT", "/api/log", `{"level": "debug"}`); status != http.StatusOK || body != "{\"level\":\"DEBUG\"}\n" || level.Level() != slog.LevelDebug {
		t.Errorf("%d %s, level %v", status, body, level)
	}
	for _, bad := range []string{``, `{}`, `{"level": "loud"}`, `{"level": "info", "x": 1}`, `{"level": "info"} {}`, `["info"]`, `{"level": "debug-1"}`, `{"level": "error+1"}`} {
		if status, body := h.do("PUT", "/api/log", bad); status != http.StatusBadRequest || level.Level() != slog.LevelDebug {
			t.Errorf("%s: %d %s, level %v", bad, status, body, level)
		}
	}
	if status, body := h.do("PUT", "/api/log", strings.Repeat(" ", 100<<10)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d %s", status, body)
	}
	if status, body := h.do("GET", "/api/log", ""); status != http.StatusOK || body != "{\"level\":\"DEBUG\"}\n" {
		t.Errorf("%d %s", status, body)
	}
}

// lockedText is a log in memory.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The change is logged so that it is seen under the old level and under the new one.
func TestLogLevelIsLogged(t *testing.T) {
	level := new(slog.LevelVar)
	var text lockedText
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level}))
	h := newHouse(t, func(s *admin.Server) { s.Level, s.Log = level, log })
	for i, to := range []string{"ERROR", "DEBUG", "ERROR"} {
		if status, body := h.do("PUT", "/api/log", `{"level": "`+to+`"}`); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		testutil.Eventually(t, "the line", func() bool { return strings.Count(text.String(), "log level changed") == i+1 })
	}
}

func TestReloadAndConfig(t *testing.T) {
	h := newHouse(t)
	for method, path := range map[string]string{"GET": "/api/config", "POST": "/api/reload"} {
		if status, _ := h.do(method, path, ""); status != http.StatusNotFound {
			t.Errorf("%s %s without one: %d", method, path, status)
		}
	}
	var err error
	h.admin.Settings = func() any { return map[string]string{"handler": "<echo>"} }
	h.admin.Reload = func(context.Context) (admin.ReloadResult, error) {
		return admin.ReloadResult{Changed: []string{"echo.max_line"}, Kept: []string{"admin.address"}}, err
	}
	if status, body := h.do("GET", "/api/config", ""); status != http.StatusOK || body != "{\"handler\":\"\\u003cecho\\u003e\"}\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := h.do("POST", "/api/reload", ""); status != http.StatusOK || body != `{"changed":["echo.max_line"],"added":[],"removed":[],"kept":["admin.address"]}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	err = errors.New("tcp.max_clients: must not be negative")
	if status, body := h.do("POST", "/api/reload", ""); status != http.StatusUnprocessableEntity || !strings.Contains(body, "tcp.max_clients") {
		t.Errorf("%d %s", status, body)
	}
}

func TestProfiles(t *testing.T) {
	h := newHouse(t)
	for path, want := range map[string]string{
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile: total",
		"/debug/pprof/heap":              "\x1f\x8b", // gzip
		"/debug/pprof/profile?seconds=1": "\x1f\x8b",
		"/debug/pprof/trace?seconds=1":   "go 1.",
	} {
		if status, body := h.do("GET", path, ""); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.40q", path, status, body)
		}
	}
	for path, want := range map[string]int{
		"/debug/pprof/nothing":            http.StatusNotFound,
		"/debug/pprof/cmdline":            http.StatusNotFound, // it may have secrets
		"/debug/pprof/heap?debug=x":       http.StatusBadRequest,
		"/debug/pprof/profile?seconds=0":  http.StatusBadRequest,
		"/debug/pprof/profile?seconds=61": http.StatusBadRequest,
	} {
		if status, body := h.do("GET", path, ""); status != want {
			t.Errorf("%s: %d %.40q, want %d", path, status, body, want)
		}
	}
	if _, pattern := http.DefaultServeMux.Handler(&http.Request{URL: &url.URL{Path: "/debug/pprof/"}}); pattern != "" {
		t.Errorf("http.DefaultServeMux has %s", pattern)
	}
}

// deadlines is an answer that takes a deadline.
type deadlines struct {
	*httptest.ResponseRecorder
	write time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// A reload may take longer than other requests.
func TestReloadHasTime(t *testing.T) {
	side := &admin.Server{
		Config: admin.Config{Token: "t"},
		Reload: func(context.Context) (admin.ReloadResult, error) { return admin.ReloadResult{}, nil },
		Log:    slog.New(slog.DiscardHandler),
	}
	r := httptest.NewRequest("POST", "/api/reload", nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer t")
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	side.ServeHTTP(w, r)
	if left := time.Until(w.write); w.Code != http.StatusOK || left < time.Minute {
		t.Errorf("status %d, %v are left", w.Code, left)
	}
}
