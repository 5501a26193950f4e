package tcp_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// Only what is named is used.
func TestTLSNames(t *testing.T) {
	a := testutil.NewAuthority(t)
	tls12 := func(suites ...uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}
	curve := func(curves ...tls.CurveID) *tls.Config { return &tls.Config{CurvePreferences: curves} }
	const aes128, aes256 = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	for _, test := range []struct {
		name   string
		cfg    tcp.TLSFiles
		client *tls.Config
		served bool
	}{
		{"1.2 at most", tcp.TLSFiles{MaxVersion: "1.2"}, &tls.Config{MinVersion: tls.VersionTLS13}, false},
		{"1.2 at most", tcp.TLSFiles{MaxVersion: "1.2"}, &tls.Config{}, true},
		{"1.3 at most", tcp.TLSFiles{MaxVersion: "1.3"}, &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"1.3 alone", tcp.TLSFiles{MinVersion: "1.3", MaxVersion: "1.3"}, tls12(), false},
		{"suite", tcp.TLSFiles{CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}}, tls12(aes256), true},
		{"suite", tcp.TLSFiles{CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}}, tls12(aes128), false},
		{"suite", tcp.TLSFiles{CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}}, &tls.Config{}, true}, // TLS 1.3
		{"suites", tcp.TLSFiles{CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}}, tls12(aes128), true},
		{"all suites", tcp.TLSFiles{}, tls12(aes128), true},
		{"curve", tcp.TLSFiles{Curves: []string{"P-384"}}, curve(tls.CurveP384, tls.X25519), true},
		{"curve", tcp.TLSFiles{Curves: []string{"P-384"}}, curve(tls.X25519), false},
		{"curves", tcp.TLSFiles{Curves: []string{"P-384", "X25519"}}, curve(tls.X25519), true},
		{"hybrid", tcp.TLSFiles{Curves: []string{"X25519MLKEM768"}}, curve(tls.X25519MLKEM768, tls.X25519), true},
		{"all curves", tcp.TLSFiles{}, curve(tls.CurveP521), true},
	} {
		pair := tlsFiles(t, a).TLS
		test.cfg.Cert, test.cfg.Key = pair.Cert, pair.Key
		s := start(t, tcp.Config{TLS: test.cfg}, echo())
		test.client.ServerName, test.client.RootCAs = "first", a.Client("first").RootCAs
		if _, err := knock(t, s, test.client); (err == nil) != test.served {
			t.Errorf("%s: %v, want served %v", test.name, err, test.served)
		}
	}
}

// The names of all suites and curves of crypto/tls are known, so that a new release of Go
// is noticed.
func TestTLSNamesAreComplete(t *testing.T) {
	good := tlsFiles(t, testutil.NewAuthority(t))
	for _, suite := range tls.CipherSuites() {
		cfg := good
		cfg.TLS.CipherSuites = []string{suite.Name}
		if err := cfg.Validate(); (err == nil) != (suite.SupportedVersions[0] != tls.VersionTLS13) {
			t.Errorf("%s: %v", suite.Name, err)
		}
	}
	for id := range tls.CurveID(0xffff) {
		name := id.String()
		if strings.HasPrefix(name, "CurveID(") {
			continue // there is no such curve
		}
		cfg := good
		cfg.TLS.Curves = []string{strings.Replace(name, "CurveP", "P-", 1)}
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestTLSNamesValidate(t *testing.T) {
	a := testutil.NewAuthority(t)
	const suites = "must be one of TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "
	for _, test := range []struct {
		change func(*tcp.TLSFiles)
		want   string
	}{
		{func(c *tcp.TLSFiles) { c.MaxVersion = "1.1" }, "TLS.MaxVersion 1.1: must be 1.2 or 1.3"},
		{func(c *tcp.TLSFiles) { c.MinVersion, c.MaxVersion = "1.3", "1.2" }, "TLS.MaxVersion 1.2: must not be below min_version"},
		{func(c *tcp.TLSFiles) { c.CipherSuites = []string{"AES"} }, "TLS.CipherSuites [AES]: AES is not known, " + suites},
		{func(c *tcp.TLSFiles) { c.CipherSuites = []string{"TLS_RSA_WITH_RC4_128_SHA"} }, "TLS_RSA_WITH_RC4_128_SHA is insecure, " + suites},
		{func(c *tcp.TLSFiles) { c.CipherSuites = []string{"TLS_AES_128_GCM_SHA256"} }, "TLS_AES_128_GCM_SHA256 is of TLS 1.3, whose suites are always in use, " + suites},
		{func(c *tcp.TLSFiles) {
			c.MinVersion, c.CipherSuites = "1.3", []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}
		}, "has no effect where min_version is 1.3"},
		{func(c *tcp.TLSFiles) { c.Curves = []string{"X25519", "P-224"} },
			"TLS.Curves [X25519 P-224]: P-224 is not known, must be one of X25519, P-256, P-384, P-521, X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024"},
		{func(c *tcp.TLSFiles) { c.MaxHandshakes = -1 }, "TLS.MaxHandshakes -1: must not be negative"},
	} {
		cfg := tlsFiles(t, a).TLS
		test.change(&cfg)
		wantInvalid(t, cfg, test.want)
	}
	const reason = ": needs a certificate of the server: set cert and key"
	for _, test := range []struct {
		cfg  tcp.TLSFiles
		want string
	}{
		{tcp.TLSFiles{ClientAuth: "require"}, "TLS.ClientAuth require"},
		{tcp.TLSFiles{CRL: "x"}, "TLS.CRL x"},
		{tcp.TLSFiles{OCSPStaple: "x"}, "TLS.OCSPStaple x"},
		{tcp.TLSFiles{MaxVersion: "1.2"}, "TLS.MaxVersion 1.2"},
		{tcp.TLSFiles{CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}}, "TLS.CipherSuites [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"},
		{tcp.TLSFiles{Curves: []string{"P-256"}}, "TLS.Curves [P-256]"},
	} {
		wantInvalid(t, test.cfg, test.want+reason)
	}
}
