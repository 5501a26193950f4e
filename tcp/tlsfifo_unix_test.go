//go:build unix

package tcp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// fifo puts a FIFO in the place of a file.
func fifo(t *testing.T, file string) {
	t.Helper()
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// allFiles is a configuration with each kind of file.
type allFiles struct {
	a          *testutil.Authority
	cfg        tcp.Config
	both       string // of Certificates
	clientCert []byte
	client     *tls.Config // which has clientCert
}

func newAllFiles(t *testing.T) *allFiles {
	t.Helper()
	a := testutil.NewAuthority(t)
	f := &allFiles{a: a, cfg: revocable(t, a, a.PEM, a.CRL(t, inDays(7)))}
	withStaple(t, a, &f.cfg.TLS, inDays(1))
	dir := t.TempDir()
	f.both = filepath.Join(dir, "both.pem")
	issue(t, a, f.both, f.both, "listed")
	f.cfg.TLS.Certificates = []string{f.both}
	f.cfg.TLS.CertificateDir = filepath.Join(dir, "pairs")
	f.fill(t, "folder")
	f.client, f.clientCert = newClient(t, a, a, tls.VersionTLS13)
	f.client.ClientSessionCache, f.client.InsecureSkipVerify = nil, true // names differ
	return f
}

func (f *allFiles) inDir(name string) string { return filepath.Join(f.cfg.TLS.CertificateDir, name) }

// fill makes the folder anew, with a certificate for name.
func (f *allFiles) fill(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(f.cfg.TLS.CertificateDir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.cfg.TLS.CertificateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	issue(t, f.a, f.inDir("a.crt"), f.inDir("a.key"), name)
}

// knock connects and asks for a name.
func (f *allFiles) knock(t *testing.T, s *tcptest.Server, name string) (*tls.Conn, error) {
	t.Helper()
	client := f.client.Clone()
	client.ServerName = name
	return knock(t, s, client)
}

// shows returns a function that reports whether a client of name gets a certificate for it.
func (f *allFiles) shows(t *testing.T, name string) func(*tcptest.Server) bool {
	return func(s *tcptest.Server) bool {
		conn, err := f.knock(t, s, name)
		return err == nil && conn.ConnectionState().PeerCertificates[0].Subject.CommonName == name
	}
}

// fifoCase is a file that becomes a FIFO.
type fifoCase struct {
	file, field string
	restore     func()                     // makes it a file again, with other contents
	used        func(*tcptest.Server) bool // these contents are in use
}

func (f *allFiles) cases(t *testing.T) map[string]fifoCase {
	c := &f.cfg.TLS
	isRevoked := func(s *tcptest.Server) bool {
		_, err := f.knock(t, s, "first")
		return err != nil
	}
	main := func() { newCertificate(t, f.a, c, "second") }
	folder := func() { f.fill(t, "new folder") }
	return map[string]fifoCase{
		"cert":               {c.Cert, "TLS.Cert", main, f.shows(t, "second")},
		"key":                {c.Key, "TLS.Key", main, f.shows(t, "second")},
		"certificates":       {f.both, "TLS.Certificates", func() { issue(t, f.a, f.both, f.both, "new") }, f.shows(t, "new")},
		"certificate_dir":    {c.CertificateDir, "TLS.CertificateDir", func() { f.fill(t, "new folder") }, f.shows(t, "new folder")},
		"certificate in it":  {f.inDir("a.crt"), "TLS.CertificateDir", folder, f.shows(t, "new folder")},
		"key in it":          {f.inDir("a.key"), "TLS.CertificateDir", folder, f.shows(t, "new folder")},
		"another pair in it": {f.inDir("b.crt"), "TLS.CertificateDir", folder, f.shows(t, "new folder")},
		"client_ca": {c.ClientCA, "TLS.ClientCA", func() { // which the lists have to fit
			other := testutil.NewAuthority(t)
			testutil.ReplaceFile(t, c.ClientCA, append(bytes.Clone(other.PEM), f.a.PEM...))
			testutil.ReplaceFile(t, c.CRL, append(other.CRL(t, inDays(7)), f.a.CRL(t, inDays(7), f.clientCert)...))
		}, isRevoked},
		"crl": {c.CRL, "TLS.CRL", func() { testutil.ReplaceFile(t, c.CRL, f.a.CRL(t, inDays(7), f.clientCert)) }, isRevoked},
		"ocsp_staple": {c.OCSPStaple, "TLS.OCSPStaple", func() {
			cert, _ := os.ReadFile(c.Cert)
			testutil.ReplaceFile(t, c.OCSPStaple, f.a.OCSP(t, cert, ocsp.Good, inDays(2)))
		}, func(s *tcptest.Server) bool {
			want, _ := os.ReadFile(c.OCSPStaple)
			conn, err := f.knock(t, s, "first")
			return err == nil && bytes.Equal(conn.OCSPResponse(), want)
		}},
	}
}

func fifoNames(t *testing.T) (names []string) {
	for name := range newAllFiles(t).cases(t) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A file that becomes a FIFO holds up no handshake: the old contents serve. When it is a file
// again, that is used.
func TestFIFOUnderHandshakes(t *testing.T) {
	t.Parallel()
	for _, name := range fifoNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newAllFiles(t)
			test := f.cases(t)[name]
			var log journal
			f.cfg.Log = log.logger()
			s := start(t, f.cfg, echo())
			live, err := f.knock(t, s, "first")
			if err != nil {
				t.Fatal(err)
			}
			fifo(t, test.file)
			clients := uint64(1)
			warnings := func() []map[string]string {
				return log.find("certificates cannot be reloaded, keeping the previous ones")
			}
			serves := func() {
				t.Helper()
				for _, name := range []string{"first", "listed", "folder"} {
					if !f.shows(t, name)(s) {
						t.Fatalf("the client of %q is not served", name)
					}
					clients++
				}
			}
			eventually(t, "a warning", func() bool {
				serves()
				return len(warnings()) > 0
			})
			serves()
			if got := warnings(); len(got) != 1 || !strings.Contains(got[0]["err"], test.field+" ") || !strings.Contains(got[0]["err"], test.file) {
				t.Errorf("warnings %v", got)
			}
			exchange(t, live, "still here\n")
			eventually(t, "they are counted", func() bool { return s.TCP.Stats().Accepted == clients })
			if stats := s.TCP.Stats(); stats.FailedHandshakes != 0 || stats.ComputingHandshakes+stats.QueuedHandshakes != 0 {
				t.Errorf("stats %+v", stats)
			}

			if err := os.Remove(test.file); err != nil {
				t.Fatal(err)
			}
			test.restore()
			eventually(t, "the new contents are used", func() bool { return test.used(s) })
			exchange(t, live, "still here\n")
			fifo(t, test.file)
			live.Close()
			if err := s.TCP.Shutdown(within(t, patience)); err != nil && !errors.Is(err, tcp.ErrCut) {
				t.Errorf("Shutdown: %v", err)
			}
			if n := s.TCP.Stats().Active; n != 0 {
				t.Errorf("%d clients are left", n)
			}
		})
	}
}

// At the start a FIFO is an error that names the key, and not a wait.
func TestFIFOAtTheStart(t *testing.T) {
	for _, name := range fifoNames(t) {
		f := newAllFiles(t)
		test := f.cases(t)[name]
		fifo(t, test.file)
		began := time.Now()
		wantInvalid(t, f.cfg.TLS, test.field+" ")
		wantInvalid(t, f.cfg.TLS, "cannot be used: ")
		wantInvalid(t, f.cfg.TLS, test.file)
		if took := time.Since(began); took > testutil.Slack {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
