package proxy_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wireline/internal/testutil"
	tlstransport "wireline/internal/transport"
)

// authority signs the certificates of the upstreams that speak TLS.
var authority struct {
	sync.Once
	*testutil.Authority
	upstream tls.Certificate
}

// upstreamAuthority makes the authority at its first use.
func upstreamAuthority(t *testing.T) *testutil.Authority {
	t.Helper()
	authority.Do(func() {
		authority.Authority = testutil.NewAuthority(t)
		authority.upstream = issue(t, authority.Authority, "upstream")
	})
	return authority.Authority
}

// issue returns a certificate for a name.
func issue(t *testing.T, a *testutil.Authority, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.Issue(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// upstreamCA returns a file with the authority's own certificate.
func upstreamCA(t *testing.T) string {
	t.Helper()
	return writeFile(t, "ca.pem", upstreamAuthority(t).PEM)
}

func writeFile(t *testing.T, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// upstreamConfig is for an upstream called "upstream".
func upstreamConfig(t *testing.T) *tls.Config {
	t.Helper()
	upstreamAuthority(t)
	return &tls.Config{Certificates: []tls.Certificate{authority.upstream}}
}

// handshakes is a listener that makes the TLS handshakes of a server without waiting for
// Accept, as the kernel makes those of TCP.
type handshakes struct {
	net.Listener
	config *tls.Config
	ready  chan net.Conn
	closed chan struct{}
	close  sync.Once
	wg     sync.WaitGroup

	mu       sync.Mutex
	deadline time.Time
}

func listenHandshakes(t *testing.T, ln net.Listener, config *tls.Config) *handshakes {
	t.Helper()
	h := &handshakes{Listener: ln, config: config, ready: make(chan net.Conn, 1<<16), closed: make(chan struct{})}
	h.wg.Go(h.run)
	t.Cleanup(func() { h.Close() })
	return h
}

func (h *handshakes) run() {
	for {
		conn, err := h.Listener.Accept()
		if err != nil {
			return
		}
		h.wg.Go(func() {
			server := tlstransport.Server(conn, h.config).Conn()
			conn.SetDeadline(time.Now().Add(testutil.Patience))
			if server.Handshake() != nil {
				conn.Close()
				return
			}
			conn.SetDeadline(time.Time{})
			h.ready <- server
		})
	}
}

// Accept implements net.Listener.
func (h *handshakes) Accept() (net.Conn, error) {
	h.mu.Lock()
	var late <-chan time.Time
	if !h.deadline.IsZero() {
		timer := time.NewTimer(time.Until(h.deadline))
		defer timer.Stop()
		late = timer.C
	}
	h.mu.Unlock()
	select {
	case conn := <-h.ready:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	case <-late:
		return nil, os.ErrDeadlineExceeded
	}
}

// SetDeadline is that of a *net.TCPListener.
func (h *handshakes) SetDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	return nil
}

// Close implements net.Listener.
func (h *handshakes) Close() (err error) {
	h.close.Do(func() {
		err = h.Listener.Close()
		close(h.closed)
		h.wg.Wait()
		for len(h.ready) > 0 {
			(<-h.ready).(*tls.Conn).NetConn().Close()
		}
	})
	return err
}
