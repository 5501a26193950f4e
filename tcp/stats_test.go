package tcp_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// A server may be looked at before it serves, and while it begins to. That does not read its files
// yet.
func TestStatsBeforeServe(t *testing.T) {
	dir := t.TempDir()
	files := tcp.TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	s := &tcp.Server{Config: tcp.Config{MaxBuffered: 1 << 20, TLS: files, Log: slog.New(slog.DiscardHandler)}}
	look := func() {
		s.Stats()
		s.HandshakeTimes()
		s.Addrs()
		s.Ready()
	}
	look()
	cert, key := testutil.NewAuthority(t).Issue(t, "a.example")
	for name, text := range map[string][]byte{files.Cert: cert, files.Key: key} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), ln) }()
	for !s.Ready() {
		look()
		if len(done) > 0 {
			break
		}
	}
	s.Close()
	if err := testutil.Await(t, "the end of Serve", done); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}
