package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"wireline/lib/field"
)

// TLSFiles makes the server speak TLS, with certificates from files. The zero value means
// no TLS.
type TLSFiles struct {
	// Cert is the file with the certificate and the intermediate ones, in PEM; Key is
	// the file with its private key. Both are set, or none. Changed files are used for
	// new connections.
	Cert string `config:"cert" help:"file with the certificate chain in PEM; if set, the server speaks TLS"`
	Key  string `config:"key" help:"file with the certificate's private key in PEM"`

	// ClientCA, if set, is a file with certificates in PEM: a client must have a
	// certificate that one of these has signed. A changed file is used, too.
	ClientCA string `config:"client_ca" help:"file with the certificates that must have signed those of clients; empty = clients need none"`

	// MinVersion is the lowest version of TLS: 1.2 or 1.3. Empty means 1.2.
	MinVersion string `config:"min_version" default:"1.2" help:"1.2 or 1.3"`

	// ALPN lists the application protocols of the server, the preferred first (RFC
	// 7301). A client that names only others is refused. Empty means that the server
	// does not use ALPN.
	ALPN []string `config:"alpn" help:"application protocols offered, the preferred first"`
}

// defaultHandshakeTimeout is used when Config.HandshakeTimeout is zero.
const defaultHandshakeTimeout = 10 * time.Second

// enabled reports whether the server is to speak TLS.
func (c *TLSFiles) enabled() bool { return c.Cert != "" || c.Key != "" }

// check adds what is wrong to e.
func (c *TLSFiles) check(e *field.Errors) {
	e.Check(c.MinVersion == "" || c.MinVersion == "1.2" || c.MinVersion == "1.3", "TLS.MinVersion", c.MinVersion, "must be 1.2 or 1.3")
	switch {
	case !c.enabled():
		const reason = "needs a certificate of the server: set cert and key"
		e.Check(c.ClientCA == "", "TLS.ClientCA", c.ClientCA, reason)
		e.Check(len(c.ALPN) == 0, "TLS.ALPN", c.ALPN, reason)
		e.Check(c.MinVersion != "1.3", "TLS.MinVersion", c.MinVersion, reason) // 1.2 is the default
	case c.Key == "":
		e.Check(false, "TLS.Key", c.Key, "must be set, as cert is")
	case c.Cert == "":
		e.Check(false, "TLS.Cert", c.Cert, "must be set, as key is")
	default:
		c.parse(c.read(e), e)
	}
}

// texts are the contents of the files: nil for a file that is not set, or could not be
// read.
type texts struct{ cert, key, clientCA []byte }

func (t *texts) equal(o *texts) bool {
	return bytes.Equal(t.cert, o.cert) && bytes.Equal(t.key, o.key) && bytes.Equal(t.clientCA, o.clientCA)
}

// material is what the texts contain.
type material struct {
	cert    *tls.Certificate
	clients *x509.CertPool // nil if clients need no certificate
}

// read reads the files, and adds the errors to e.
func (c *TLSFiles) read(e *field.Errors) texts {
	read := func(name, file string) []byte {
		if file == "" {
			return nil
		}
		text, err := os.ReadFile(file)
		if useless(e, name, file, err) {
			return nil
		}
		return text
	}
	return texts{read("TLS.Cert", c.Cert), read("TLS.Key", c.Key), read("TLS.ClientCA", c.ClientCA)}
}

// parse parses the texts, and adds the errors to e.
func (c *TLSFiles) parse(t texts, e *field.Errors) (m material) {
	if t.cert != nil {
		_, err := certificatesIn(t.cert)
		if !useless(e, "TLS.Cert", c.Cert, err) && t.key != nil {
			cert, err := tls.X509KeyPair(t.cert, t.key)
			useless(e, "TLS.Key", c.Key, err) // the certificate was parsed above
			m.cert = &cert
		}
	}
	if t.clientCA != nil {
		certs, err := certificatesIn(t.clientCA)
		useless(e, "TLS.ClientCA", c.ClientCA, err)
		m.clients = x509.NewCertPool()
		for _, cert := range certs {
			m.clients.AddCert(cert)
		}
	}
	return m
}

// useless adds err to e, if there is one, and reports whether there is.
func useless(e *field.Errors, name, file string, err error) bool {
	if err != nil {
		e.Check(false, name, file, "cannot be used: "+err.Error())
	}
	return err != nil
}

// certificatesIn parses all certificates of a PEM file. A certificate that is cut off or
// damaged is an error: crypto/x509 and crypto/tls skip it silently, and later refuse the
// clients that need it.
func certificatesIn(text []byte) (certs []*x509.Certificate, err error) {
	begun, whole := bytes.Count(text, []byte("-----BEGIN ")), 0
	block, rest := pem.Decode(text)
	for ; block != nil; block, rest = pem.Decode(rest) {
		whole++
		if block.Type != "CERTIFICATE" {
			continue // the key may be in the same file
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", whole, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case begun != whole, len(certs) > 0 && len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("cut off or damaged after %d whole blocks", whole)
	case len(certs) == 0:
		return nil, errors.New("contains no certificate in PEM")
	}
	return certs, nil
}

// tlsConfig returns the configuration of the server's handshakes; nil without TLS.
func (s *Server) tlsConfig() (*tls.Config, error) {
	if s.TLSConfig != nil {
		return s.TLSConfig, nil
	}
	c := &s.Config.TLS
	if !c.enabled() {
		return nil, nil
	}
	files := &certificates{server: s}
	if err := files.load(); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: c.ALPN}
	if c.MinVersion == "1.3" {
		base.MinVersion = tls.VersionTLS13
	}
	base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return files.current().cert, nil }
	if c.ClientCA != "" {
		// There is no GetClientCAs, so each client gets a configuration. Tickets stay
		// valid: a clone without ticket keys uses those of base.
		base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			own := base.Clone()
			own.GetConfigForClient = nil
			own.ClientAuth, own.ClientCAs = tls.RequireAndVerifyClientCert, files.current().clients
			return own, nil
		}
	}
	return base, nil
}

// reloadEvery is the minimum time between two reads of the files. They are read during a
// handshake, and compared as a whole: equal times and sizes do not prove that they have not
// changed.
const reloadEvery = time.Second

// certificates keeps the certificates of TLSFiles up to date.
type certificates struct {
	server *Server

	mu      sync.Mutex
	looked  time.Time // the last read of the files
	texts   texts
	loaded  material // from texts
	failing bool     // the last reload has failed, and the log has it
}

// current returns the certificates that are in the files. If the files cannot be used, for
// example while they are being written, it returns the previous ones.
func (c *certificates) current() material {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < reloadEvery {
		return c.loaded
	}
	failing := c.failing
	changed, err := c.loadLocked()
	c.failing = err != nil
	switch {
	case changed:
		c.server.log().Info("certificates reloaded", "cert", c.server.Config.TLS.Cert)
	case c.failing && !failing:
		c.server.log().Warn("certificates cannot be reloaded, keeping the previous ones", "err", err)
	}
	return c.loaded
}

// load reads the files for the first time.
func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.loadLocked()
	return err
}

// loadLocked reads the files, and takes over their contents if they have changed.
func (c *certificates) loadLocked() (changed bool, err error) {
	cfg, e := &c.server.Config.TLS, field.Errors{}
	c.looked = time.Now()
	next := cfg.read(&e)
	if e.Err() == nil && next.equal(&c.texts) {
		return false, nil
	}
	m := cfg.parse(next, &e)
	if err := e.Err(); err != nil {
		return false, err
	}
	c.texts, c.loaded = next, m
	return true, nil
}

// tlsKey is the context key of TLSState; its value is a *tls.Conn.
type tlsKey struct{}

// TLSState returns the result of a connection's TLS handshake: the client's certificates,
// the protocol of ALPN, the server name. ctx is the context that the connection's handler
// has: that of Client.Context, or of Handle. The state is a copy, but the certificates in
// it must not be changed. TLSState may be called at any time, from any goroutine. It
// returns nil if the server does not speak TLS on the connection. It knows nothing of TLS
// that a listener passed to Serve speaks.
func TLSState(ctx context.Context) *tls.ConnectionState {
	conn, ok := ctx.Value(tlsKey{}).(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}
