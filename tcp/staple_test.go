package tcp_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// withStaple adds a response about the certificate of cfg, and returns the certificate.
func withStaple(t *testing.T, a *testutil.Authority, cfg *tcp.TLSFiles, expires time.Time) (cert []byte) {
	t.Helper()
	cert, err := os.ReadFile(cfg.Cert)
	if err != nil {
		t.Fatal(err)
	}
	cfg.OCSPStaple = filepath.Join(filepath.Dir(cfg.Cert), "ocsp.der")
	testutil.ReplaceFile(t, cfg.OCSPStaple, a.OCSP(t, cert, ocsp.Good, expires))
	return cert
}

// stapled returns the response that a client of a server name receives.
func stapled(t *testing.T, s *tcptest.Server, name string) []byte {
	t.Helper()
	conn, err := knock(t, s, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return conn.OCSPResponse()
}

// The response goes with the first certificate, as long as it is in force and belongs to it.
func TestStaple(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		cfg := tlsFiles(t, a)
		cert := withStaple(t, a, &cfg.TLS, inDays(1))
		second := filepath.Join(t.TempDir(), "second.pem")
		issue(t, a, second, second, "second")
		cfg.TLS.Certificates = []string{second}
		var log journal
		cfg.Log = log.logger()
		s := serveInMemory(t, cfg)
		staple := func(text []byte) {
			testutil.ReplaceFile(t, cfg.TLS.OCSPStaple, text)
			time.Sleep(time.Second)
		}
		sent := func() bool {
			t.Helper()
			want, _ := os.ReadFile(cfg.TLS.OCSPStaple)
			got := stapled(t, s, "first")
			if got != nil && !bytes.Equal(got, want) {
				t.Error("another response is sent")
			}
			return got != nil
		}
		want := func(what string, is bool, warnings int) {
			t.Helper()
			for range 2 {
				if sent() != is {
					t.Errorf("%s: sent %v, want %v", what, !is, is)
				}
				time.Sleep(time.Second)
			}
			if n := len(log.find("OCSP response is not sent")); n != warnings {
				t.Errorf("%s: %d warnings, want %d", what, n, warnings)
			}
		}
		want("at the start", true, 0)
		if got := stapled(t, s, "second"); got != nil {
			t.Error("the response is sent with another certificate")
		}
		staple(a.OCSP(t, cert, ocsp.Good, inDays(2)))
		want("a new one", true, 0)
		time.Sleep(48 * time.Hour)
		want("expired", false, 1)
		staple(a.OCSP(t, cert, ocsp.Good, inDays(2)))
		want("renewed", true, 1)
		newCertificate(t, a, &cfg.TLS, "first")
		time.Sleep(time.Second)
		want("a new certificate", false, 2)
		renewed, _ := os.ReadFile(cfg.TLS.Cert)
		staple(a.OCSP(t, renewed, ocsp.Good, inDays(2)))
		want("and its response", true, 2)
		staple(a.OCSP(t, renewed, ocsp.Revoked, inDays(2)))
		want("revoked", false, 3)
		staple(a.OCSP(t, renewed, ocsp.Good, inDays(2)))
		want("good again", true, 3)
		whole, _ := os.ReadFile(cfg.TLS.OCSPStaple)
		staple(whole[:len(whole)/2])
		if got := stapled(t, s, "first"); !bytes.Equal(got, whole) {
			t.Error("half a file has replaced the response")
		}
		if n := len(log.find("certificates cannot be reloaded, keeping the previous ones")); n != 1 {
			t.Errorf("%d warnings of half a file, want 1", n)
		}
	})
}

// One that has expired is no error at the start; one that never fits is.
func TestStapleValidate(t *testing.T) {
	a, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
	cfg := tlsFiles(t, a)
	var log journal
	cfg.Log = log.logger()
	cert := withStaple(t, a, &cfg.TLS, time.Now().Add(-time.Minute))
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if got := stapled(t, start(t, cfg, echo()), "first"); got != nil {
		t.Error("an expired response is sent")
	}
	if n := len(log.find("OCSP response is not sent")); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	otherCert, _ := a.Issue(t, "other")
	chain := tlsFiles(t, a)
	testutil.ReplaceFile(t, chain.TLS.Cert, append(bytes.Clone(cert), a.PEM...)) // the issuer is known
	key, _ := os.ReadFile(cfg.TLS.Key)
	testutil.ReplaceFile(t, chain.TLS.Key, key)
	for _, test := range []struct {
		cfg  tcp.TLSFiles
		text []byte
		want string
	}{
		{cfg.TLS, []byte("junk"), ": cannot be used: asn1: "},
		{cfg.TLS, []byte(ocsp.UnauthorizedErrorResponse), ": cannot be used: ocsp: error from server: unauthorized"},
		{cfg.TLS, a.OCSP(t, otherCert, ocsp.Good, inDays(1)), ": cannot be used: no response matching the supplied certificate"},
		{cfg.TLS, a.OCSP(t, cert, ocsp.Revoked, inDays(1)), ": cannot be used: does not say that the certificate is good"},
		{cfg.TLS, a.OCSP(t, cert, ocsp.Unknown, inDays(1)), ": cannot be used: does not say that the certificate is good"},
		{chain.TLS, other.OCSP(t, cert, ocsp.Good, inDays(1)), ": cannot be used: bad OCSP signature"},
	} {
		file := filepath.Join(t.TempDir(), "ocsp.der")
		testutil.ReplaceFile(t, file, test.text)
		test.cfg.OCSPStaple = file
		wantInvalid(t, test.cfg, "TLS.OCSPStaple "+file+test.want)
	}
	cfg.TLS.OCSPStaple = "missing"
	wantInvalid(t, cfg.TLS, "TLS.OCSPStaple missing: cannot be used: open missing")
}
