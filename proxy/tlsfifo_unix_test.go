//go:build unix

package proxy_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/proxy"
)

// A file that becomes a FIFO holds up no connect: the old contents serve. When it is a file
// again, that is used. At the start it is an error that names the key.
func TestFIFOUnderConnects(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"TLS.CA", "TLS.Cert", "TLS.Key"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			first, second := testutil.NewAuthority(t), testutil.NewAuthority(t)
			certText, keyText := first.Issue(t, "one")
			files := map[string]string{
				"TLS.CA": writeFile(t, "ca.pem", first.PEM), "TLS.Cert": writeFile(t, "cert.pem", certText), "TLS.Key": writeFile(t, "key.pem", keyText),
			}
			file := files[key]
			var cert atomic.Pointer[tls.Certificate]
			use := func(a *testutil.Authority) {
				pair := issue(t, a, "upstream")
				cert.Store(&pair)
			}
			use(first)
			cfg := proxy.Config{
				TLS:            proxy.TLS{Enable: true, CA: files["TLS.CA"], Cert: files["TLS.Cert"], Key: files["TLS.Key"], ServerName: "upstream"},
				ConnectTimeout: patience, Health: proxy.HealthConfig{Fall: 1 << 20},
			}
			s := secure(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return cert.Load(), nil
			}}, cfg)
			log := &logBuffer{}
			s.proxy.Log = slog.New(slog.NewTextHandler(log, nil))
			live, upstream := s.pair()
			shown := func() string { return s.relays().PeerCertificates[0].Subject.CommonName }

			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			cfg.Upstreams = s.proxy.Config.Upstreams
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), key+" "+file+": cannot be used: ") {
				t.Errorf("Validate: %v", err)
			}
			if took := time.Since(began); took > slack {
				t.Errorf("Validate took %v", took)
			}
			eventually(t, "a warning", func() bool {
				if got := shown(); got != "one" {
					t.Fatalf("shown %q", got)
				}
				return log.count("cannot be reloaded") > 0
			})
			shown()
			if n := log.count("cannot be reloaded"); n != 1 || log.count(file+": is not a regular file") != 1 {
				t.Errorf("%d warnings:\n%s", n, log)
			}
			if u := s.proxy.Upstreams()[0]; u.Failures != 0 {
				t.Errorf("upstream %+v", u)
			}

			os.Remove(file)
			certText, keyText = second.Issue(t, "two")
			testutil.ReplaceFile(t, files["TLS.CA"], append(bytes.Clone(first.PEM), second.PEM...))
			testutil.ReplaceFile(t, files["TLS.Cert"], certText)
			testutil.ReplaceFile(t, files["TLS.Key"], keyText)
			eventually(t, "the new files are used", func() bool { return shown() == "two" })
			use(second)
			shown()
			send(t, live, "still here")
			receive(t, upstream, "still here")
		})
	}
}
