package tcp_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// A read that hangs, of whatever file, holds up no handshake: the old contents serve, and the
// new ones when the read returns. One read at a time hangs.
func TestHangUnderHandshakes(t *testing.T) {
	for _, kind := range []string{"cert", "certificates", "certificate_dir", "client_ca", "ocsp_staple"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := testutil.NewAuthority(t)
				cfg := revocable(t, a, a.PEM, a.CRL(t, inDays(7)))
				cfg.TLS.ClientAuth = tcp.ClientAuthNone
				cfg.Log = new(journal).logger()
				withStaple(t, a, &cfg.TLS, inDays(7))
				both, dir := filepath.Join(t.TempDir(), "both.pem"), t.TempDir()
				issue(t, a, both, both, "listed")
				issue(t, a, filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key"), "folder")
				cfg.TLS.Certificates, cfg.TLS.CertificateDir = []string{both}, dir
				file := map[string]string{
					"cert": cfg.TLS.Cert, "certificates": both, "certificate_dir": filepath.Join(dir, "a.crt"),
					"client_ca": cfg.TLS.ClientCA, "ocsp_staple": cfg.TLS.OCSPStaple,
				}[kind]

				var reads atomic.Int32 // of that file
				release := make(chan struct{})
				s := tcptest.NewUnstartedServer(echo())
				s.TCP.Config = cfg
				err := tcp.BeforeReads(s.TCP, func(f string) {
					if f == file && reads.Add(1) == 1 {
						<-release
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				s.Serve(tcptest.Listen())
				defer s.Close()
				live, err := knock(t, s, a.Client("first"))
				if err != nil {
					t.Fatal(err)
				}

				newCertificate(t, a, &cfg.TLS, "second")
				os.Remove(cfg.TLS.OCSPStaple) // which is not for that one
				time.Sleep(time.Second)
				began, clients := time.Now(), uint64(1)
				for range 20 {
					wantServed(t, s, map[string]string{"": "first", "listed": "listed", "folder": "folder"})
					clients += 3
				}
				if took := time.Since(began); took != 250*time.Millisecond {
					t.Errorf("60 handshakes took %v, want the wait of the first one", took)
				}
				time.Sleep(24 * time.Hour)
				began = time.Now()
				wantServed(t, s, map[string]string{"": "first"})
				clients++
				if took := time.Since(began); took != 0 || reads.Load() != 1 {
					t.Errorf("a handshake took %v, %d reads of the file; want one that hangs", took, reads.Load())
				}
				exchange(t, live, "still here\n")
				if stats := s.TCP.Stats(); stats.Accepted != clients || stats.FailedHandshakes != 0 || stats.ComputingHandshakes != 0 {
					t.Errorf("%d clients: %+v", clients, stats)
				}

				close(release)
				synctest.Wait()
				wantServed(t, s, map[string]string{"": "second", "listed": "listed", "folder": "folder"})
				exchange(t, live, "still here\n")
			})
		})
	}
}

// A server stops though a read hangs.
func TestShutdownWhileAReadHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testutil.NewAuthority(t)
		release := make(chan struct{})
		defer close(release)
		s := tcptest.NewUnstartedServer(echo())
		s.TCP.Config = tlsFiles(t, a)
		if err := tcp.BeforeReads(s.TCP, func(string) { <-release }); err != nil {
			t.Fatal(err)
		}
		s.Serve(tcptest.Listen())
		time.Sleep(time.Second)
		conn, err := knock(t, s, a.Client("first"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := s.TCP.Shutdown(within(t, patience)); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took >= time.Second {
			t.Errorf("took %v", took)
		}
		receiveAll(t, conn, "")
	})
}
