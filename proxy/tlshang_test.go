package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/internal/tlsfiles"
	"wireline/lib/field"
)

// slowFiles are files whose reads wait.
type slowFiles struct {
	tlsfiles.Source[*tls.Config]
	wait func()
}

func (s slowFiles) Read(r *tlsfiles.Reader, e *field.Errors) [][]byte {
	s.wait()
	return s.Source.Read(r, e)
}

// While a read of the files hangs, upstreams are connected to with the old ones.
func TestHangUnderConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testutil.NewAuthority(t), testutil.NewAuthority(t)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		testutil.ReplaceFile(t, ca, a.PEM)
		x := &Proxy{
			Config: Config{Upstreams: []string{"a.example:1", "b.example:1"}, TLS: TLS{Enable: true, CA: ca}},
			Log:    slog.New(slog.DiscardHandler),
		}
		x.Start()
		defer x.Shutdown(context.Background())
		var reads atomic.Int32
		release := make(chan struct{})
		s := x.settings.Load()
		files := s.tls.files
		files.Source = slowFiles{files.Source, func() {
			if reads.Add(1) == 1 {
				<-release
			}
		}}
		trusts := func(who *testutil.Authority, within time.Duration) {
			t.Helper()
			began := time.Now()
			for i, u := range s.upstreams {
				cfg, err := s.tls.config(u)
				if err != nil {
					t.Fatal(err)
				}
				if want := []string{"a.example", "b.example"}[i]; cfg.ServerName != want || !cfg.RootCAs.Equal(who.Client("").RootCAs) {
					t.Errorf("name %q, want %q; or another authority", cfg.ServerName, want)
				}
			}
			if took := time.Since(began); took > within {
				t.Errorf("took %v", took)
			}
		}
		trusts(a, 0)
		testutil.ReplaceFile(t, ca, b.PEM)
		time.Sleep(time.Second)
		trusts(a, time.Second/4)
		for range 100 {
			time.Sleep(time.Minute)
			trusts(a, 0)
		}
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads", n)
		}
		close(release)
		synctest.Wait()
		trusts(b, 0)
	})
}

// The files of settings that are not in force any more are not read.
func TestFilesOfOldSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		testutil.ReplaceFile(t, ca, testutil.NewAuthority(t).PEM)
		cfg := Config{Upstreams: []string{"a.example:1"}, TLS: TLS{Enable: true, CA: ca}}
		x := &Proxy{Config: cfg, Log: slog.New(slog.DiscardHandler)}
		x.Start()
		defer x.Shutdown(context.Background())
		old := x.settings.Load()
		reads := 0
		old.tls.files.Source = slowFiles{old.tls.files.Source, func() { reads++ }}
		ask := func() {
			t.Helper()
			time.Sleep(time.Minute)
			if c, err := old.tls.config(old.upstreams[0]); c == nil || err != nil {
				t.Errorf("%v, %v", c, err)
			}
			synctest.Wait()
		}
		if ask(); reads != 1 {
			t.Errorf("%d reads in force, want one", reads)
		}
		if err := x.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		if ask(); reads != 1 {
			t.Errorf("%d reads afterwards, want none", reads-1)
		}
	})
}

// Files that cannot be read at the start are tried again.
func TestFilesComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		x := &Proxy{Config: Config{Upstreams: []string{"a.example:1"}, TLS: TLS{Enable: true, CA: ca}}, Log: slog.New(slog.DiscardHandler)}
		x.Start()
		defer x.Shutdown(context.Background())
		s := x.settings.Load()
		if _, err := s.tls.config(s.upstreams[0]); err == nil {
			t.Error("no error")
		}
		testutil.ReplaceFile(t, ca, a.PEM)
		time.Sleep(time.Second)
		if _, err := s.tls.config(s.upstreams[0]); err != nil {
			t.Error(err)
		}
	})
}
