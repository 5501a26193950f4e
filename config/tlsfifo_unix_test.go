//go:build unix

package config_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// --check does not wait for a FIFO in the place of a file of TLS: the error names the key.
func TestCheckOfFIFOs(t *testing.T) {
	t.Chdir(t.TempDir())
	a := testutil.NewAuthority(t)
	cert, key := a.Issue(t, "a")
	write(t, "a.crt", string(cert))
	write(t, "a.key", string(key))
	write(t, "ca.pem", string(a.PEM))
	if err := os.Mkdir("pairs", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "pairs/a.crt", "pairs/a.key"} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const main, proxy = "--tcp.tls.cert=a.crt --tcp.tls.key=a.key ", "--handler=proxy --proxy.upstreams=a.example:1 --proxy.tls.enable=true "
	for _, test := range []struct{ args, key, file string }{
		{"--tcp.tls.cert=fifo --tcp.tls.key=a.key", "tcp.tls.cert", "fifo"},
		{"--tcp.tls.cert=a.crt --tcp.tls.key=fifo", "tcp.tls.key", "fifo"},
		{"--tcp.tls.certificates=fifo", "tcp.tls.certificates", "fifo"},
		{"--tcp.tls.certificates=a.crt=fifo", "tcp.tls.certificates", "fifo"},
		{"--tcp.tls.certificate_dir=pairs", "tcp.tls.certificate_dir", "a.crt"},
		{"--tcp.tls.certificate_dir=fifo", "tcp.tls.certificate_dir", "fifo"},
		{main + "--tcp.tls.client_ca=fifo", "tcp.tls.client_ca", "fifo"},
		{main + "--tcp.tls.client_ca=ca.pem --tcp.tls.crl=fifo", "tcp.tls.crl", "fifo"},
		{main + "--tcp.tls.ocsp_staple=fifo", "tcp.tls.ocsp_staple", "fifo"},
		{proxy + "--proxy.tls.ca=fifo", "proxy.tls.ca", "fifo"},
		{proxy + "--proxy.tls.cert=fifo --proxy.tls.key=a.key", "proxy.tls.cert", "fifo"},
		{proxy + "--proxy.tls.cert=a.crt --proxy.tls.key=fifo", "proxy.tls.key", "fifo"},
	} {
		began := time.Now()
		_, err := load(strings.Fields("--check "+test.args), nil)
		if err == nil || !strings.HasPrefix(err.Error(), test.key+": flag --"+test.key+": ") || !strings.Contains(err.Error(), test.file) {
			t.Errorf("%s: %v", test.args, err)
		}
		if took := time.Since(began); took > testutil.Slack {
			t.Errorf("%s: took %v", test.args, took)
		}
	}
}
