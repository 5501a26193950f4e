//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"wireline/internal/testutil"
)

// The server name chooses the certificate: of the list, or of a folder whose pairs come
// while the server runs.
func TestTLSOpenSSLServerName(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	a.issue("list.example")
	if err := os.Mkdir(a.file("pairs"), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(file string, names ...string) {
		t.Helper()
		cert, key := a.Issue(t, names...)
		testutil.ReplaceFile(t, a.file("pairs/"+file+".crt"), cert)
		testutil.ReplaceFile(t, a.file("pairs/"+file+".key"), key)
	}
	put("wild", "*.wild.example")
	p := a.startTLS(t, "--tcp.tls.certificates="+a.file("list.example.pem")+"="+a.file("list.example.key"), "--tcp.tls.certificate_dir="+a.file("pairs"))
	// proves reports whether the server proves to be host for a client that asks for it by
	// args.
	proves := func(host string, args ...string) bool {
		cmd := exec.Command(path, append([]string{"s_client", "-connect", p.addr, "-CAfile", a.file("ca.pem"), "-verify_return_error", "-verify_hostname", host}, args...)...)
		return cmd.Run() == nil
	}
	for _, test := range []struct{ sent, host string }{
		{"", "localhost"}, {"unknown", "localhost"}, {"localhost", "localhost"},
		{"list.example", "list.example"}, {"x.wild.example", "x.wild.example"}, {"X.wild.EXAMPLE", "x.wild.example"},
	} {
		args := []string{"-servername", test.sent}
		if test.sent == "" {
			args = []string{"-noservername"}
		}
		if !proves(test.host, args...) {
			t.Errorf("a client that sends the name %q does not get a certificate of %s", test.sent, test.host)
		}
	}
	put("late", "late.example")
	testutil.Eventually(t, "a new pair is used", func() bool {
		served := runGood(t, "", path, "s_client", "-connect", p.addr, "-servername", "late.example")
		return strings.Contains(served, "CN = late.example") || strings.Contains(served, "CN=late.example")
	})
	p.stopQuiet()
}

// opensslCA is an authority of openssl's own, which revokes certificates.
type opensslCA struct {
	*authority
	path string
}

func newOpensslCA(t *testing.T, path string) *opensslCA {
	t.Helper()
	ca := &opensslCA{newAuthority(t), path}
	testutil.ReplaceFile(t, ca.file("index.txt"), nil)
	testutil.ReplaceFile(t, ca.file("ca.conf"), []byte("[ca]\ndefault_ca = own\n[own]\ndatabase = "+ca.file("index.txt")+
		"\ndefault_md = sha256\ndefault_crl_days = 1\ncrl_extensions = v2\n[v2]\nauthorityKeyIdentifier = keyid\n[req]\ndistinguished_name = name\n[name]\n"))
	ca.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=openssl", "-days", "2", "-config", ca.file("ca.conf"),
		"-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
		"-addext", "subjectKeyIdentifier=hash", "-keyout", ca.file("clients.key"), "-out", ca.file("clients.pem"))
	return ca
}

func (ca *opensslCA) run(args ...string) { runGood(ca.t, "", ca.path, args...) }

// client makes a certificate, and returns the arguments of s_client for it.
func (ca *opensslCA) client(name string) []string {
	ca.t.Helper()
	key, request, cert := ca.file(name+".key"), ca.file(name+".csr"), ca.file(name+".pem")
	ca.run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN="+name, "-config", ca.file("ca.conf"), "-keyout", key, "-out", request)
	ca.run("x509", "-req", "-in", request, "-CA", ca.file("clients.pem"), "-CAkey", ca.file("clients.key"), "-CAcreateserial", "-days", "2", "-out", cert)
	return []string{"-cert", cert, "-key", key}
}

// publish writes the list in the format.
func (ca *opensslCA) publish(format string) {
	ca.t.Helper()
	args := []string{"-config", ca.file("ca.conf"), "-cert", ca.file("clients.pem"), "-keyfile", ca.file("clients.key")}
	ca.run(append([]string{"ca", "-gencrl", "-out", ca.file("list.pem")}, args...)...)
	ca.run("crl", "-in", ca.file("list.pem"), "-outform", format, "-out", ca.file("new.crl"))
	if err := os.Rename(ca.file("new.crl"), ca.file("clients.crl")); err != nil {
		ca.t.Fatal(err)
	}
}

func (ca *opensslCA) revoke(name string) {
	ca.t.Helper()
	ca.run("ca", "-config", ca.file("ca.conf"), "-cert", ca.file("clients.pem"), "-keyfile", ca.file("clients.key"), "-revoke", ca.file(name+".pem"))
}

// A client is refused as soon as its certificate is on the list, also with a session that it
// has already; others are served.
func TestTLSOpenSSLRevoked(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	for version, format := range map[string]string{"-tls1_2": "PEM", "-tls1_3": "DER"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			ca := newOpensslCA(t, path)
			good, bad := ca.client("good"), ca.client("bad")
			ca.publish(format)
			p := ca.startTLS(t, "--tcp.tls.client_ca="+ca.file("clients.pem"), "--tcp.tls.crl="+ca.file("clients.crl"))
			session := func(direction string, cert []string) *toolProcess {
				args := append([]string{version, direction, ca.file(cert[1][strings.LastIndex(cert[1], "/")+1:] + ".session")}, cert...)
				return launchTool(t, path, ca.authority.client(p.addr, args...)...)
			}
			for _, cert := range [][]string{good, bad} {
				client := session("-sess_out", cert)
				client.send("hello\n")
				client.awaitOutput("hello\n") // not on a line of its own: openssl cuts what it prints
				client.stdin.Close()
				client.wait()
			}
			ca.revoke("bad")
			ca.publish(format)
			time.Sleep(1100 * time.Millisecond) // the files are read once a second
			wantRefused(t, session("-sess_in", bad), "alert bad certificate")
			wantRefused(t, session("-sess_out", bad), "alert bad certificate")
			client := session("-sess_in", good)
			client.send("hello\n")
			client.awaitOutput("hello\n")
			client.awaitOutput("Reused, TLSv")
			client.stdin.Close()
			client.wait()
			p.stopQuiet()
			refused := p.find("msg", "TLS handshake failed") // the third line is a summary
			if len(refused) != 3 || !strings.Contains(refused[0]["err"], "has been revoked") || !strings.Contains(refused[1]["err"], "has been revoked") {
				t.Errorf("the log says %v", refused)
			}
		})
	}
}

// The client sees the response about the certificate, which openssl verifies.
func TestTLSOpenSSLStaple(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	a.issue("localhost")
	cert, err := os.ReadFile(a.file("localhost.pem"))
	if err != nil {
		t.Fatal(err)
	}
	testutil.ReplaceFile(t, a.file("ocsp.der"), a.OCSP(t, cert, ocsp.Good, time.Now().Add(time.Hour)))
	p := start(t, "--tcp.tls.cert="+a.file("localhost.pem"), "--tcp.tls.key="+a.file("localhost.key"), "--tcp.tls.ocsp_staple="+a.file("ocsp.der"))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		out := runGood(t, "", path, a.client(p.addr, "-status", version)...)
		if !strings.Contains(out, "OCSP Response Status: successful") || !strings.Contains(out, "Cert Status: good") {
			t.Errorf("%s: printed %s", version, abridged(out))
		}
	}
	testutil.ReplaceFile(t, a.file("ocsp.der"), a.OCSP(t, cert, ocsp.Good, time.Now().Add(-time.Second)))
	testutil.Eventually(t, "an expired response is not sent", func() bool {
		return strings.Contains(runGood(t, "", path, a.client(p.addr, "-status")...), "OCSP response: no response sent")
	})
	p.await("msg", "OCSP response is not sent")
	p.stop()
	runGood(t, "", path, "ocsp", "-respin", a.file("ocsp.der"), "-issuer", a.file("ca.pem"), "-cert", a.file("localhost.pem"), "-CAfile", a.file("ca.pem"))
}

// What is configured by name is what openssl sees.
func TestTLSOpenSSLNames(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	const suite = "--tcp.tls.cipher_suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
	for _, test := range []struct {
		name, server string
		args         []string
		says, alert  string
	}{
		{"1.2 at most", "--tcp.tls.max_version=1.2", nil, "TLSv1.2", ""},
		{"1.2 at most, 1.3 alone", "--tcp.tls.max_version=1.2", []string{"-tls1_3"}, "", "alert protocol version"},
		{"suite", suite, []string{"-tls1_2"}, "ECDHE-ECDSA-AES256-GCM-SHA384", ""},
		{"other suite", suite, []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"}, "ECDHE-ECDSA-CHACHA20-POLY1305", ""},
		{"no suite", suite, []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}, "", "alert handshake failure"},
		{"1.3 has its own", suite, []string{"-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"}, "TLS_AES_128_GCM_SHA256", ""},
		{"curve", "--tcp.tls.curves=P-384", []string{"-groups", "X25519:P-384"}, "384 bits", ""},
		{"curve, 1.2", "--tcp.tls.curves=P-384", []string{"-groups", "X25519:P-256:P-384", "-tls1_2"}, "384 bits", ""},
		{"no curve", "--tcp.tls.curves=P-384,P-521", []string{"-groups", "X25519"}, "", "alert handshake failure"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			p := a.startTLS(t, test.server)
			if test.alert != "" {
				wantRefused(t, launchTool(t, path, a.client(p.addr, append(test.args, "-quiet")...)...), test.alert)
			} else if out := runGood(t, "", path, a.client(p.addr, test.args...)...); !strings.Contains(out, test.says) {
				t.Errorf("printed %s without %q", abridged(out), test.says)
			}
			p.stopQuiet()
		})
	}
}

// No early data is offered: a session does not allow any.
func TestTLSOpenSSLEarlyData(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	p := a.startTLS(t)
	client := launchTool(t, path, a.client(p.addr, "-tls1_3", "-sess_out", a.file("session"))...)
	client.send("hello\n")
	client.awaitOutput("\nhello\n")
	client.stdin.Close()
	client.wait()
	if out := runGood(t, "", path, "sess_id", "-in", a.file("session"), "-text"); !strings.Contains(out, "Max Early Data: 0") {
		t.Errorf("the session is %s", out)
	}
	testutil.ReplaceFile(t, a.file("early"), []byte("early\n"))
	// openssl refuses to send any with this session, and makes an ordinary handshake.
	client = launchTool(t, path, a.client(p.addr, "-tls1_3", "-sess_in", a.file("session"), "-early_data", a.file("early"))...)
	client.send("hello\n")
	client.awaitOutput("\nhello\n")
	client.awaitOutput("Early data was not sent")
	client.stdin.Close()
	client.wait()
	p.stopQuiet()
}

// The lists that the tests of package tcp use are good to openssl, too.
func TestTLSOpenSSLReadsOurLists(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	cert, _ := a.Issue(t, "revoked")
	testutil.ReplaceFile(t, a.file("list.pem"), a.CRL(t, time.Now().Add(time.Hour), cert))
	out := runGood(t, "", path, "crl", "-in", a.file("list.pem"), "-CAfile", a.file("ca.pem"), "-text")
	if !strings.Contains(out, "Serial Number: ") {
		t.Errorf("printed %s", out)
	}
}
