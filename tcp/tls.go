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

// TLSFiles has the server speak TLS. The zero value does not.
type TLSFiles struct {
	// Cert is the file with the certificate, and those between it and the root, in
	// PEM; Key the one with its private key. Both or none are set. They are read
	// again when they have changed, which touches no connection there is.
	Cert string `config:"cert" help:"file with the certificate chain in PEM; with it the server speaks TLS"`
	Key  string `config:"key" help:"file with the certificate's private key in PEM"`

	// ClientCA, if set, is a file with certificates in PEM: a client must have one
	// that one of them has signed. It is read again too.
	ClientCA string `config:"client_ca" help:"file with the certificates that clients' own must be signed by; empty = clients need none"`

	// MinVersion is the least version of TLS: 1.2 or 1.3. Empty means 1.2.
	MinVersion string `config:"min_version" default:"1.2" help:"1.2 or 1.3"`

	// ALPN are the protocols that the server speaks, the best first (RFC 7301). A
	// client that names some, and none of them, is refused. Empty means that it is
	// not asked.
	ALPN []string `config:"alpn" help:"application protocols offered, the best first"`
}

// defaultHandshakeTimeout bounds a TLS handshake when Config.HandshakeTimeout is zero.
const defaultHandshakeTimeout = 10 * time.Second

// enabled reports whether the server is to speak TLS.
func (c *TLSFiles) enabled() bool { return c.Cert != "" || c.Key != "" }

// check adds what is wrong to e.
func (c *TLSFiles) check(e *field.Errors) {
	e.Check(c.MinVersion == "" || c.MinVersion == "1.2" || c.MinVersion == "1.3", "TLS.MinVersion", c.MinVersion, "must be 1.2 or 1.3")
	switch {
	case !c.enabled():
		const reason = "needs a certificate of the server's own: set cert and key"
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

// texts are what is in the files: nil for one that is not set, or could not be read.
type texts struct{ cert, key, clientCA []byte }

func (t *texts) equal(o *texts) bool {
	return bytes.Equal(t.cert, o.cert) && bytes.Equal(t.key, o.key) && bytes.Equal(t.clientCA, o.clientCA)
}

// material is what texts have in them.
type material struct {
	cert    *tls.Certificate
	clients *x509.CertPool // nil if they need no certificate
}

// read reads the files, and adds to e what is in the way of that.
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

// parse makes of the texts what handshakes need, and adds to e what is wrong with them.
func (c *TLSFiles) parse(t texts, e *field.Errors) (m material) {
	if t.cert != nil {
		_, err := certificatesIn(t.cert)
		if !useless(e, "TLS.Cert", c.Cert, err) && t.key != nil {
			cert, err := tls.X509KeyPair(t.cert, t.key)
			useless(e, "TLS.Key", c.Key, err) // the certificate is as it should be
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

// useless adds err, if there is one, to e.
func useless(e *field.Errors, name, file string, err error) bool {
	if err != nil {
		e.Check(false, name, file, "is of no use: "+err.Error())
	}
	return err != nil
}

// certificatesIn parses all certificates of a PEM file. crypto/x509 and crypto/tls skip
// in silence what is cut short or damaged, and refuse later whom that was for.
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
			return nil, fmt.Errorf("block %d of it: %w", whole, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case begun != whole, len(certs) > 0 && len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("it is cut short or damaged: %d whole blocks", whole)
	case len(certs) == 0:
		return nil, errors.New("no certificate in PEM is in it")
	}
	return certs, nil
}

// tlsConfig is what the server's handshakes go by; nil for a server without TLS.
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
		// A configuration for each client, as there is no GetClientCAs. Tickets
		// stay good: without keys of its own it has those of base.
		base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			own := base.Clone()
			own.GetConfigForClient = nil
			own.ClientAuth, own.ClientCAs = tls.RequireAndVerifyClientCert, files.current().clients
			return own, nil
		}
	}
	return base, nil
}

// reloadEvery is how often the files are read, at most: with a handshake. That is cheap
// enough, and no time or size of theirs is a proof that they are as they were.
const reloadEvery = time.Second

// certificates are those of TLSFiles, as they are in the files now.
type certificates struct {
	server *Server

	mu      sync.Mutex
	looked  time.Time
	texts   texts
	loaded  material // what is in texts
	failing bool     // the last reload failed, and that was logged
}

// current returns what is in the files. If they cannot be used, as while somebody is
// writing them, it is what was there before.
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
		c.server.log().Warn("certificates cannot be reloaded, going on with those before", "err", err)
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

// loadLocked reads the files, and takes over what is in them if that is something else.
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

// tlsKey is the context's key for TLSState; its value is a *tls.Conn.
type tlsKey struct{}

// TLSState returns what was agreed on in the handshake, for the context that the
// connection's handler has (Client.Context, or Handle's): the client's certificates are
// there, the protocol of ALPN, the server name. It is the caller's own copy, but for the
// certificates, which must not be changed. It may be called at any time, from any
// goroutine. Nil if the server does not speak TLS on the connection; what a listener of
// TLS has that was given to Serve is not known here.
func TLSState(ctx context.Context) *tls.ConnectionState {
	conn, ok := ctx.Value(tlsKey{}).(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}
