package tcp_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// newClient returns a client of the server "first" with a certificate of signer, and the
// certificate. It trusts a.
func newClient(t *testing.T, a, signer *testutil.Authority, version uint16) (client *tls.Config, cert []byte) {
	t.Helper()
	client = a.Client("first")
	client.MinVersion, client.MaxVersion = version, version
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	cert, key := signer.Issue(t, "client")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever authorities the server names, it gets this certificate.
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return client, cert
}

var bothVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// An unverified certificate is never accepted, and none only where that is allowed.
func TestClientAuth(t *testing.T) {
	a, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
	for name, version := range bothVersions {
		without := a.Client("first")
		without.MinVersion, without.MaxVersion = version, version
		good, _ := newClient(t, a, a, version)
		bad, _ := newClient(t, a, other, version)
		for _, test := range []struct {
			auth               tcp.ClientAuth
			ca                 bool
			without, good, bad bool // is served
			sees               bool // the handler sees the certificate
		}{
			{"", false, true, true, true, false}, // nobody asks for it
			{"", true, false, true, false, true},
			{tcp.ClientAuthNone, false, true, true, true, false},
			{tcp.ClientAuthNone, true, true, true, true, false},
			{tcp.ClientAuthRequest, true, true, true, false, true},
			{tcp.ClientAuthRequire, true, false, true, false, true},
		} {
			cfg := tlsFiles(t, a)
			cfg.TLS.ClientAuth = test.auth
			if test.ca {
				cfg.TLS.ClientCA = filepath.Join(t.TempDir(), "ca.pem")
				testutil.ReplaceFile(t, cfg.TLS.ClientCA, a.PEM)
			}
			s := start(t, cfg, echo())
			for _, client := range []struct {
				name string
				cfg  *tls.Config
				want bool
			}{{"without", without, test.without}, {"good", good, test.good}, {"bad", bad, test.bad}} {
				if _, err := knock(t, s, client.cfg); (err == nil) != client.want {
					t.Errorf("TLS %s, client_auth %q, client_ca %v: certificate %s: %v", name, test.auth, test.ca, client.name, err)
				}
			}
		}
	}
}

// revocable is a configuration that checks clients against the lists.
func revocable(t *testing.T, a *testutil.Authority, authorities, lists []byte) tcp.Config {
	t.Helper()
	cfg := tlsFiles(t, a)
	dir := filepath.Dir(cfg.TLS.Cert)
	cfg.TLS.ClientCA, cfg.TLS.CRL = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "crl.pem")
	testutil.ReplaceFile(t, cfg.TLS.ClientCA, authorities)
	testutil.ReplaceFile(t, cfg.TLS.CRL, lists)
	return cfg
}

func inDays(n int) time.Time { return time.Now().Add(time.Duration(n) * 24 * time.Hour) }

// A certificate that is revoked while the server runs is refused, in a full handshake and
// when the session is resumed; connections there are and other clients go on.
func TestRevokedCertificate(t *testing.T) {
	for name, version := range bothVersions {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := testutil.NewAuthority(t)
				cfg := revocable(t, a, a.PEM, a.CRL(t, inDays(7)))
				var log journal
				cfg.Log = log.logger()
				s := serveInMemory(t, cfg)
				good, _ := newClient(t, a, a, version)
				bad, cert := newClient(t, a, a, version)
				live, err := knock(t, s, bad)
				if err != nil {
					t.Fatal(err)
				}
				wantGood := func(resumed bool) {
					t.Helper()
					conn, err := knock(t, s, good)
					if err != nil {
						t.Fatal(err)
					}
					if did := conn.ConnectionState().DidResume; did != resumed {
						t.Errorf("resumed %v, want %v", did, resumed)
					}
				}
				wantGood(false)

				testutil.ReplaceFile(t, cfg.TLS.CRL, a.CRL(t, inDays(7), cert))
				time.Sleep(time.Second)
				// It has no certificate to show now: only the session has it.
				resuming := bad.Clone()
				resuming.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
				for i, client := range []*tls.Config{resuming, bad} {
					if _, err := knock(t, s, client); err == nil {
						t.Error("a revoked certificate is accepted")
					}
					synctest.Wait()
					if failed := log.find("TLS handshake failed"); len(failed) != i+1 || !strings.Contains(failed[i]["err"], "has been revoked") {
						t.Errorf("the log says %v", failed)
					}
				}
				wantGood(true)
				exchange(t, live, "still here\n")

				// It is taken off the list again.
				testutil.ReplaceFile(t, cfg.TLS.CRL, a.CRL(t, inDays(7)))
				time.Sleep(time.Second)
				if _, err := knock(t, s, bad); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// When a list runs out, clients with a certificate are refused, and the log says so once.
// A list that is out of force does not replace another.
func TestExpiredList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		cfg := revocable(t, a, a.PEM, a.CRL(t, inDays(1)))
		cfg.TLS.ClientAuth = tcp.ClientAuthRequest
		var log journal
		cfg.Log = log.logger()
		s := serveInMemory(t, cfg)
		client, _ := newClient(t, a, a, tls.VersionTLS13)
		want := func(served bool) {
			t.Helper()
			for range 2 {
				if _, err := knock(t, s, client); (err == nil) != served {
					t.Errorf("with a certificate: %v", err)
				}
			}
			if _, err := knock(t, s, a.Client("first")); err != nil {
				t.Errorf("without one: %v", err)
			}
		}
		warnings := func() int { return len(log.find("revocation list has expired, clients are refused")) }
		want(true)
		testutil.ReplaceFile(t, cfg.TLS.CRL, a.CRL(t, time.Now().Add(-time.Minute)))
		time.Sleep(time.Hour)
		want(true)
		if n := len(log.find("certificates cannot be reloaded, keeping the previous ones")); n != 1 {
			t.Errorf("%d warnings of the new list, want 1", n)
		}
		time.Sleep(24 * time.Hour)
		want(false)
		if n := warnings(); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
		wantInvalid(t, cfg.TLS, "TLS.CRL "+cfg.TLS.CRL+": cannot be used: the list of CN=authority has expired at ")
		testutil.ReplaceFile(t, cfg.TLS.CRL, a.CRL(t, inDays(1)))
		time.Sleep(time.Second)
		want(true)
		time.Sleep(25 * time.Hour)
		want(false)
		if n := warnings(); n != 2 {
			t.Errorf("%d warnings, want 2", n)
		}
	})
}

// Each certificate of a chain but the authority's own is checked, and has to be covered.
func TestListsOfSeveralAuthorities(t *testing.T) {
	root, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
	middle := root.Intermediate(t, "middle")
	join := func(texts ...[]byte) []byte { return bytes.Join(texts, []byte("some remark\n")) }
	direct, directCert := newClient(t, root, root, 0)
	viaMiddle, middleCert := newClient(t, root, middle, 0)
	get := viaMiddle.GetClientCertificate
	viaMiddle.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, _ := get(info)
		block, _ := pem.Decode(middle.PEM)
		return &tls.Certificate{Certificate: [][]byte{cert.Certificate[0], block.Bytes}, PrivateKey: cert.PrivateKey}, nil
	}
	ofOther, _ := newClient(t, root, other, 0)
	soon := inDays(1)
	rootOnly, both := root.PEM, join(root.PEM, middle.PEM)
	for _, test := range []struct {
		what                       string
		authorities, lists         []byte
		direct, viaMiddle, ofOther bool
	}{
		{"a list of the root alone", rootOnly, root.CRL(t, soon), true, false, false},
		{"lists of both", both, join(root.CRL(t, soon), middle.CRL(t, soon)), true, true, false},
		{"of the intermediate alone, which is an authority of its own", both, middle.CRL(t, soon), false, true, false},
		{"one in DER", rootOnly, decode(root.CRL(t, soon)), true, false, false},
		{"the root revokes a client", both, join(root.CRL(t, soon, directCert), middle.CRL(t, soon)), false, true, false},
		{"the intermediate revokes its client", both, join(root.CRL(t, soon), middle.CRL(t, soon, middleCert)), true, false, false},
		{"the root revokes the intermediate", both, join(root.CRL(t, soon, middle.PEM), middle.CRL(t, soon)), true, false, false},
		{"two authorities of one name", join(root.PEM, other.PEM), join(root.CRL(t, soon), other.CRL(t, soon)), true, false, true},
		{"a list of one of them", join(root.PEM, other.PEM), root.CRL(t, soon, directCert), false, false, false},
		{"an old list and a new one", rootOnly, join(root.CRL(t, soon, directCert), newerCRL(t, root)), true, false, false},
		{"in the other order", rootOnly, join(newerCRL(t, root), root.CRL(t, soon, directCert)), true, false, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			s := start(t, revocable(t, root, test.authorities, test.lists), echo())
			for name, client := range map[string]struct {
				cfg  *tls.Config
				want bool
			}{"direct": {direct, test.direct}, "via middle": {viaMiddle, test.viaMiddle}, "of another": {ofOther, test.ofOther}} {
				fresh := client.cfg.Clone()
				fresh.ClientSessionCache = nil
				if _, err := knock(t, s, fresh); (err == nil) != client.want {
					t.Errorf("client %s: %v", name, err)
				}
			}
		})
	}
}

func decode(text []byte) []byte {
	block, _ := pem.Decode(text)
	return block.Bytes
}

// newerCRL is an empty list that is newer than those of CRL.
func newerCRL(t *testing.T, a *testutil.Authority) []byte {
	return a.SignCRL(t, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: inDays(1)})
}

func TestClientAuthValidate(t *testing.T) {
	a, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
	list := a.CRL(t, inDays(1))
	good := revocable(t, a, a.PEM, list).TLS
	damaged := bytes.Clone(decode(list))
	damaged[len(damaged)-1] ^= 1
	partial := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: inDays(1),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0x00}}},
	}
	indirect := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: inDays(1),
		RevokedCertificateEntries: []x509.RevocationListEntry{{
			SerialNumber: big.NewInt(1), RevocationTime: time.Now(),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0x00}}},
		}},
	}
	withList := func(text []byte) tcp.TLSFiles { return revocable(t, a, a.PEM, text).TLS }
	with := func(change func(*tcp.TLSFiles)) tcp.TLSFiles {
		cfg := good
		change(&cfg)
		return cfg
	}
	all := tcp.Config{TLS: good}
	if err := all.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cfg  tcp.TLSFiles
		want string
	}{
		{with(func(c *tcp.TLSFiles) { c.ClientAuth = "maybe" }), "TLS.ClientAuth maybe: must be none, request or require"},
		{with(func(c *tcp.TLSFiles) { c.ClientAuth, c.ClientCA = "request", "" }), "TLS.ClientAuth request: needs client_ca"},
		{with(func(c *tcp.TLSFiles) { c.ClientAuth, c.ClientCA = "require", "" }), "TLS.ClientAuth require: needs client_ca"},
		{with(func(c *tcp.TLSFiles) { c.ClientCA = "" }), "TLS.CRL " + good.CRL + ": needs client_ca"},
		{with(func(c *tcp.TLSFiles) { c.CRL = "missing" }), "TLS.CRL missing: cannot be used: open missing"},
		{withList([]byte("junk")), ": cannot be used: list 1: x509: malformed crl"},
		{withList(nil), ": cannot be used: "},
		{withList(a.PEM), ": cannot be used: contains no revocation list"},
		{withList(list[:len(list)-10]), "cannot be used: cut off or damaged after 0 whole blocks"},
		{withList(append(bytes.Clone(list), list[:len(list)/2]...)), "cannot be used: cut off or damaged after 1 whole blocks"},
		{withList(damaged), "cannot be used: list 1: of CN=authority is not signed by an authority of client_ca"},
		{withList(append(bytes.Clone(list), other.CRL(t, inDays(1))...)), "cannot be used: list 2: of CN=authority is not signed by an authority of client_ca"},
		{withList(a.CRL(t, time.Now().Add(-time.Minute))), "cannot be used: the list of CN=authority has expired at "},
		{withList(a.SignCRL(t, partial)), "list 1: has the critical extension 2.5.29.28, which is not supported: it must be a complete list"},
		{withList(a.SignCRL(t, indirect)), "list 1: has an entry with the critical extension 2.5.29.29, which is not supported"},
	} {
		wantInvalid(t, test.cfg, test.want)
	}
}
