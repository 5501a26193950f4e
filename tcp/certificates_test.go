package tcp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// serveInMemory serves cfg in memory. In a bubble, files are read again as soon as everybody has
// slept for a second.
func serveInMemory(t *testing.T, cfg tcp.Config) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(echo())
	s.TCP.Config = cfg
	s.Serve(tcptest.Listen())
	t.Cleanup(s.Close)
	eventually(t, "the files are read", func() bool { return len(s.TCP.Addrs()) > 0 })
	return s
}

// knock makes a handshake in memory, and waits for the server's verdict, which with TLS 1.3
// comes after the handshake.
func knock(t *testing.T, s *tcptest.Server, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn := tls.Client(s.Dial(), cfg)
	t.Cleanup(func() { conn.Close() })
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	const line = "knock\n"
	got := make([]byte, len(line))
	if _, err := conn.Write([]byte(line)); err != nil {
		return nil, err
	}
	if _, err := conn.Read(got); err != nil {
		return nil, err
	}
	return conn, nil
}

// servedTo returns the name in the certificate for a client that sends a server name.
func servedTo(t *testing.T, s *tcptest.Server, name string) string {
	t.Helper()
	conn, err := knock(t, s, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("client of %q: %v", name, err)
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// issue writes a certificate for names and its key to two files, or to one.
func issue(t *testing.T, a *testutil.Authority, certFile, keyFile string, names ...string) {
	t.Helper()
	cert, key := a.Issue(t, names...)
	if certFile == keyFile {
		testutil.ReplaceFile(t, certFile, append(cert, key...))
		return
	}
	testutil.ReplaceFile(t, certFile, cert)
	testutil.ReplaceFile(t, keyFile, key)
}

func wantServed(t *testing.T, s *tcptest.Server, want map[string]string) {
	t.Helper()
	for name, cert := range want {
		if got := servedTo(t, s, name); got != cert {
			t.Errorf("a client of %q gets the certificate of %q, want %q", name, got, cert)
		}
	}
}

// An exact name wins over a wildcard, wherever it is; the first certificate is for all others.
func TestCertificatesByServerName(t *testing.T) {
	a := testutil.NewAuthority(t)
	cfg := tlsFiles(t, a) // for "first"
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	issue(t, a, file("wild.pem"), file("wild.key"), "*.example.com", "*.other.org")
	issue(t, a, file("both.pem"), file("both.pem"), "a.example.com")
	cfg.TLS.Certificates = []string{file("wild.pem") + "=" + file("wild.key"), file("both.pem")}
	cfg.TLS.CertificateDir = t.TempDir()
	inDir := func(name string) string { return filepath.Join(cfg.TLS.CertificateDir, name) }
	issue(t, a, inDir("1.crt"), inDir("1.key"), "b.example.com", "last")
	testutil.ReplaceFile(t, inDir(".half.crt"), []byte("hidden"))
	testutil.ReplaceFile(t, inDir("readme.txt"), []byte("no pair"))
	s := start(t, cfg, echo())
	wantServed(t, s, map[string]string{
		"":                "first",
		"first":           "first",
		"127.0.0.1":       "first", // not sent at all
		"unknown":         "first",
		"a.example.com":   "a.example.com",
		"A.Example.COM":   "a.example.com",
		"b.example.com":   "b.example.com",
		"c.example.com":   "*.example.com",
		"x.c.example.com": "first", // a wildcard is for one label
		"example.com":     "first",
		"x.other.org":     "*.example.com",
		"last":            "b.example.com",
	})
}

// Without cert and key, the first of the list is the default, or the first of the folder.
func TestDefaultCertificate(t *testing.T) {
	a := testutil.NewAuthority(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"x", "y", "z"} {
		issue(t, a, file(name+".crt"), file(name+".key"), name)
	}
	list := tcp.Config{TLS: tcp.TLSFiles{Certificates: []string{file("y.crt") + "=" + file("y.key"), file("x.crt") + "=" + file("x.key")}}}
	wantServed(t, start(t, list, echo()), map[string]string{"": "y", "x": "x"})
	folder := tcp.Config{TLS: tcp.TLSFiles{CertificateDir: dir}}
	wantServed(t, start(t, folder, echo()), map[string]string{"": "x", "z": "z"})
}

// newRSA writes a self-signed certificate with an RSA key into one file.
func newRSA(t *testing.T, file string, name string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "RSA"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	testutil.ReplaceFile(t, file, append(text, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...))
}

// Of two certificates for one name a client gets the one that it supports, with a server
// name and without.
func TestCertificatesOfTwoKinds(t *testing.T) {
	cfg := tlsFiles(t, testutil.NewAuthority(t)) // ECDSA
	file := filepath.Join(t.TempDir(), "rsa.pem")
	newRSA(t, file, "first")
	cfg.TLS.Certificates = []string{file}
	s := start(t, cfg, echo())
	for _, test := range []struct {
		suite uint16
		want  string
	}{
		{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "RSA"},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "first"},
	} {
		for _, name := range []string{"first", "", "unknown"} {
			client := &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{test.suite}}
			conn, err := knock(t, s, client)
			if err != nil {
				t.Errorf("%s for %q: %v", tls.CipherSuiteName(test.suite), name, err)
			} else if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != test.want {
				t.Errorf("%s for %q: the certificate is %q, want %q", tls.CipherSuiteName(test.suite), name, got, test.want)
			}
		}
	}
}

// Pairs of the folder come, go and break, each by itself; connections there are go on.
func TestCertificateDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		cfg := tlsFiles(t, a)
		dir := t.TempDir()
		cfg.TLS.CertificateDir = dir
		put := func(file, name string) {
			t.Helper()
			issue(t, a, filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key"), name)
		}
		remove := func(file string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
		put("a", "a.test")
		var log journal
		cfg.Log = log.logger()
		s := serveInMemory(t, cfg)
		live, err := knock(t, s, a.Client("a.test"))
		if err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			what     string
			do       func()
			want     map[string]string
			warnings int // in all
		}{
			{"one comes", func() { put("b", "b.test") }, map[string]string{"a.test": "a.test", "b.test": "b.test"}, 0},
			{"one is half there", func() { put("c", "c.test"); remove("c.key") }, map[string]string{"c.test": "first", "b.test": "b.test"}, 1},
			{"one is whole", func() { put("c", "c.test") }, map[string]string{"c.test": "c.test"}, 1},
			{"one is broken", func() { testutil.ReplaceFile(t, filepath.Join(dir, "b.crt"), []byte("-----BEGIN CERT")) }, map[string]string{"b.test": "b.test", "c.test": "c.test"}, 2},
			{"while others change", func() { put("c", "d.test") }, map[string]string{"b.test": "b.test", "c.test": "first", "d.test": "d.test"}, 2},
			{"half of one goes", func() { remove("c.crt") }, map[string]string{"b.test": "b.test", "d.test": "d.test"}, 3},
			{"all of it goes", func() { remove("c.key") }, map[string]string{"b.test": "b.test", "d.test": "first"}, 3},
			{"it comes back broken", func() { put("c", "d.test"); remove("c.key") }, map[string]string{"d.test": "first"}, 4},
			{"all go", func() { remove("a.crt"); remove("a.key"); remove("b.crt"); remove("b.key"); remove("c.crt") }, map[string]string{"a.test": "first", "b.test": "first"}, 4},
			{"one comes again", func() { put("a", "a.test") }, map[string]string{"a.test": "a.test"}, 4},
		}
		for _, step := range steps {
			step.do()
			for range 3 { // a warning is not repeated
				time.Sleep(time.Second)
				wantServed(t, s, step.want)
			}
			if n := len(log.find("certificates cannot be reloaded, keeping the previous ones")); n != step.warnings {
				t.Errorf("%s: %d warnings, want %d", step.what, n, step.warnings)
			}
			if t.Failed() {
				t.Fatalf("after %q", step.what)
			}
		}
		exchange(t, live, "still here\n")
	})
}

// The last certificate of all stays, whatever happens to its files.
func TestCertificateDirGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		dir := filepath.Join(t.TempDir(), "pairs")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		issue(t, a, filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key"), "a.test")
		var log journal
		s := serveInMemory(t, tcp.Config{TLS: tcp.TLSFiles{CertificateDir: dir}, Log: log.logger()})
		wantServed(t, s, map[string]string{"": "a.test"})
		for i, change := range []func() error{
			func() error { return os.Rename(filepath.Join(dir, "a.crt"), filepath.Join(dir, "b.crt")) },
			func() error { return os.RemoveAll(dir) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				time.Sleep(time.Second)
				wantServed(t, s, map[string]string{"": "a.test"})
			}
			if n := len(log.find("certificates cannot be reloaded, keeping the previous ones")); n == 0 {
				t.Errorf("change %d: no warning", i)
			}
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		issue(t, a, filepath.Join(dir, "b.crt"), filepath.Join(dir, "b.key"), "b.test")
		time.Sleep(time.Second)
		wantServed(t, s, map[string]string{"": "b.test"})
	})
}

// Each pair of the list is reloaded by itself.
func TestCertificatesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		cfg := tlsFiles(t, a)
		file := filepath.Join(t.TempDir(), "both.pem")
		issue(t, a, file, file, "a.test")
		cfg.TLS.Certificates = []string{file}
		var log journal
		cfg.Log = log.logger()
		s := serveInMemory(t, cfg)
		synctest.Wait() // the server has read the files
		testutil.ReplaceFile(t, cfg.TLS.Cert, []byte("half"))
		issue(t, a, file, file, "b.test")
		time.Sleep(time.Second)
		wantServed(t, s, map[string]string{"": "first", "a.test": "first", "b.test": "b.test"})
		if got := log.find("certificates reloaded"); len(got) != 1 || got[0]["file"] != file {
			t.Errorf("the log says %v", got)
		}
	})
}

// What is wrong with a pair names the key and the file.
func TestCertificatesValidate(t *testing.T) {
	a := testutil.NewAuthority(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	folder := func(names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			cert, key := a.Issue(t, "x")
			text := map[string][]byte{".crt": cert, ".key": key, ".junk": []byte("junk")}[filepath.Ext(name)]
			testutil.ReplaceFile(t, filepath.Join(dir, strings.TrimSuffix(name, ".junk")), text)
		}
		return dir
	}
	issue(t, a, file("a.pem"), file("a.key"), "a")
	issue(t, a, file("b.pem"), file("b.key"), "b")
	testutil.ReplaceFile(t, file("junk"), []byte("junk"))
	for _, test := range []struct {
		cfg  tcp.TLSFiles
		want string
	}{
		{tcp.TLSFiles{Certificates: []string{"a=b=c"}}, "TLS.Certificates [a=b=c]: a=b=c must be CERT=KEY, or one file with both"},
		{tcp.TLSFiles{Certificates: []string{"a="}}, "a= must be CERT=KEY"},
		{tcp.TLSFiles{Certificates: []string{"=b"}}, "=b must be CERT=KEY"},
		{tcp.TLSFiles{Certificates: []string{"missing"}}, "TLS.Certificates [missing]: cannot be used: open missing"},
		{tcp.TLSFiles{Certificates: []string{file("junk")}}, "]: cannot be used: " + file("junk") + ": contains no certificate in PEM"},
		{tcp.TLSFiles{Certificates: []string{file("a.pem")}}, "]: cannot be used: " + file("a.pem") + ": tls: "},
		{tcp.TLSFiles{Certificates: []string{file("a.pem") + "=" + file("b.key")}}, file("b.key") + ": tls: private key does not match public key"},
		{tcp.TLSFiles{CertificateDir: "missing"}, "TLS.CertificateDir missing: cannot be used: open missing"},
		{tcp.TLSFiles{CertificateDir: folder()}, "contains no pair NAME.crt and NAME.key"},
		{tcp.TLSFiles{CertificateDir: folder("a.crt", "a.key")}, "a.key: tls: private key does not match public key"},
		{tcp.TLSFiles{CertificateDir: folder("a.crt")}, "cannot be used: open "},
		{tcp.TLSFiles{CertificateDir: folder("a.key")}, "cannot be used: open "},
		{tcp.TLSFiles{CertificateDir: folder("a.crt.junk", "a.key")}, "a.crt: contains no certificate in PEM"},
	} {
		wantInvalid(t, test.cfg, test.want)
	}
}

func wantInvalid(t *testing.T, cfg tcp.TLSFiles, want string) {
	t.Helper()
	all := tcp.Config{TLS: cfg}
	if err := all.Validate(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%+v:\n got %v\nwant %q", cfg, err, want)
	}
}

// Many pairs are found by name, and a change of one of them is seen.
func TestManyCertificates(t *testing.T) {
	testutil.Long(t)
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		dir := t.TempDir()
		const n = 200
		for i := range n {
			file := filepath.Join(dir, fmt.Sprint(i))
			issue(t, a, file+".crt", file+".key", fmt.Sprintf("h%d.test", i))
		}
		s := serveInMemory(t, tcp.Config{TLS: tcp.TLSFiles{CertificateDir: dir}})
		for i := range n {
			name := fmt.Sprintf("h%d.test", i)
			wantServed(t, s, map[string]string{name: name})
		}
		issue(t, a, filepath.Join(dir, "7.crt"), filepath.Join(dir, "7.key"), "new.test")
		time.Sleep(time.Second)
		wantServed(t, s, map[string]string{"new.test": "new.test", "h8.test": "h8.test", "h7.test": "h0.test"})
	})
}
