package config_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// What is in the files of TLS is checked with the configuration; an error has the key and
// the source of the file's name.
func TestTLSFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	a := testutil.NewAuthority(t)
	pair := func(name string) {
		t.Helper()
		cert, key := a.Issue(t, name)
		write(t, name+".crt", string(cert))
		write(t, name+".key", string(key))
	}
	pair("a")
	pair("b")
	write(t, "ca.pem", string(a.PEM))
	write(t, "good.crl", string(a.CRL(t, time.Now().Add(time.Hour))))
	write(t, "expired.crl", string(a.CRL(t, time.Now().Add(-time.Minute))))
	write(t, "half.pem", string(bytes.TrimSuffix(a.PEM, []byte("-----\n"))))
	if err := os.Mkdir("empty", 0o700); err != nil {
		t.Fatal(err)
	}
	const main = "--tcp.tls.cert=a.crt --tcp.tls.key=a.key "
	for _, test := range []struct{ args, want string }{
		{main, ""},
		{main + "--tcp.tls.certificates=b.crt=b.key --tcp.tls.certificate_dir=.", ""},
		{"--tcp.tls.certificates=a.crt=a.key,b.crt=b.key", ""},
		{"--tcp.tls.certificate_dir=.", ""},
		{main + "--tcp.tls.client_ca=ca.pem --tcp.tls.crl=good.crl --tcp.tls.client_auth=request", ""},
		{main + "--tcp.tls.cipher_suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 --tcp.tls.curves=X25519,P-256 --tcp.tls.max_version=1.3", ""},

		{"--tcp.tls.cert=a.crt --tcp.tls.key=b.key", `tcp.tls.key: flag --tcp.tls.key: "b.key" cannot be used: tls: private key does not match public key`},
		{"--tcp.tls.cert=a.crt", `tcp.tls.key: default: "" must be set, as cert is`},
		{"--tcp.tls.certificates=a.crt=b.key", `tcp.tls.certificates: flag --tcp.tls.certificates: "a.crt=b.key" cannot be used: b.key: tls: private key does not match public key`},
		{"--tcp.tls.certificates=a.crt=a.key=", `tcp.tls.certificates: flag --tcp.tls.certificates: "a.crt=a.key=" a.crt=a.key= must be CERT=KEY, or one file with both`},
		{"--tcp.tls.certificate_dir=empty", `tcp.tls.certificate_dir: flag --tcp.tls.certificate_dir: "empty" cannot be used: contains no pair NAME.crt and NAME.key`},
		{main + "--tcp.tls.client_ca=half.pem", `tcp.tls.client_ca: flag --tcp.tls.client_ca: "half.pem" cannot be used: cut off or damaged after 0 whole blocks`},
		{main + "--tcp.tls.crl=good.crl", `tcp.tls.crl: flag --tcp.tls.crl: "good.crl" needs client_ca, whose lists these are`},
		{main + "--tcp.tls.client_ca=ca.pem --tcp.tls.crl=expired.crl", `tcp.tls.crl: flag --tcp.tls.crl: "expired.crl" cannot be used: the list of CN=authority has expired at `},
		{main + "--tcp.tls.client_ca=ca.pem --tcp.tls.client_auth=always", `tcp.tls.client_auth: flag --tcp.tls.client_auth: "always" must be none, request or require`},
		{main + "--tcp.tls.ocsp_staple=ca.pem", `tcp.tls.ocsp_staple: flag --tcp.tls.ocsp_staple: "ca.pem" cannot be used: `},
		{main + "--tcp.tls.min_version=1.3 --tcp.tls.max_version=1.2", `tcp.tls.max_version: flag --tcp.tls.max_version: "1.2" must not be below min_version`},
	} {
		_, err := load(strings.Fields(test.args), nil)
		switch {
		case test.want == "" && err != nil, test.want != "" && err == nil:
			t.Errorf("%s: %v, want %q", test.args, err, test.want)
		case err != nil && (!strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s:\n got %v\nwant %s", test.args, err, test.want)
		}
	}
}
