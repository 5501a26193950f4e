package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"wireline/internal/pemfile"
	"wireline/internal/transport"
	"wireline/lib/field"
)

// TLS makes the proxy speak TLS to its upstreams. The zero value means no TLS.
type TLS struct {
	// Enable turns TLS on, for all upstreams.
	Enable bool `config:"enable" default:"false" help:"speak TLS to the upstreams"`

	// CA is a file with certificates in PEM: one of these must have signed the upstream's.
	// Empty means those that the system trusts. All three files are read again when they
	// change, for new connections.
	CA string `config:"ca" help:"file with the certificates that must have signed those of the upstreams; empty = those that the system trusts"`

	// Cert and Key are the files with the certificate chain and the private key, in PEM, that
	// the proxy shows to upstreams that ask for a certificate. Both are set, or none.
	Cert string `config:"cert" help:"file with the certificate chain in PEM that is shown to upstreams that ask for one"`
	Key  string `config:"key" help:"file with that certificate's private key in PEM"`

	// ServerName is the name or the IP address that the upstream's certificate must have. A
	// name is also what the upstream is asked for (SNI, RFC 6066). Empty means the host in
	// the upstream's address; a unix socket has none.
	ServerName string `config:"server_name" help:"name that the certificates of the upstreams must have, and that is asked for (SNI); empty = the host in the upstream's address"`

	// MinVersion is the lowest version of TLS: 1.2 or 1.3. Empty means 1.2.
	MinVersion string `config:"min_version" default:"1.2" help:"1.2 or 1.3"`

	// Insecure accepts any certificate: anybody on the way can read and change everything.
	Insecure bool `config:"insecure" default:"false" help:"accept any certificate of an upstream; only for tests"`
}

// checkTLS adds what is wrong with TLS to e.
func (c *Config) checkTLS(e *field.Errors) {
	t := &c.TLS
	e.Check(t.MinVersion == "" || t.MinVersion == "1.2" || t.MinVersion == "1.3", "TLS.MinVersion", t.MinVersion, "must be 1.2 or 1.3")
	if !t.Enable {
		const reason = "has no effect without TLS: set enable"
		for _, s := range []struct{ name, value string }{
			{"TLS.CA", t.CA}, {"TLS.Cert", t.Cert}, {"TLS.Key", t.Key}, {"TLS.ServerName", t.ServerName},
		} {
			e.Check(s.value == "", s.name, s.value, reason)
		}
		e.Check(t.MinVersion != "1.3", "TLS.MinVersion", t.MinVersion, reason) // 1.2 is the default
		e.Check(!t.Insecure, "TLS.Insecure", true, reason)
		return
	}
	e.Check(t.Key != "" || t.Cert == "", "TLS.Key", t.Key, "must be set, as cert is")
	e.Check(t.Cert != "" || t.Key == "", "TLS.Cert", t.Cert, "must be set, as key is")
	e.Check(t.CA == "" || !t.Insecure, "TLS.CA", t.CA, "has no effect with insecure")
	e.Check(t.ServerName == "" || isHost(t.ServerName), "TLS.ServerName", t.ServerName, "must be a host name or an IP address, without a port")
	if t.ServerName == "" && !t.Insecure {
		for _, u := range c.Upstreams {
			network, _, _ := parseUpstream(u)
			e.Check(network != "unix", "TLS.ServerName", "", "must be set for the upstream "+u+", whose address has no host")
		}
	}
	c.checkPoolTLS(e)
	t.parse(t.read(e), e)
}

// checkPoolTLS adds an error to e if a pool is used with send_proxy under TLS.
func (c *Config) checkPoolTLS(e *field.Errors) {
	e.Check(c.Pool.Size == 0 || !c.sendsProxy(), "Pool.Size", c.Pool.Size, "cannot go with send_proxy under TLS: the header of the client comes before the handshake")
}

// isHost reports whether text can be a host name or an IP address.
func isHost(text string) bool {
	if net.ParseIP(text) != nil {
		return true
	}
	for _, label := range strings.Split(strings.TrimSuffix(text, "."), ".") {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

// texts are the contents of the files: nil for a file that is not set, or could not be read.
type texts struct{ ca, cert, key []byte }

func (t *texts) equal(o *texts) bool {
	return bytes.Equal(t.ca, o.ca) && bytes.Equal(t.cert, o.cert) && bytes.Equal(t.key, o.key)
}

// read reads the files, and adds the errors to e.
func (t *TLS) read(e *field.Errors) texts {
	read := func(name, file string) []byte {
		if file == "" {
			return nil
		}
		text, err := os.ReadFile(file)
		checkFile(e, name, file, err)
		return text
	}
	return texts{read("TLS.CA", t.CA), read("TLS.Cert", t.Cert), read("TLS.Key", t.Key)}
}

// parse makes a configuration of the texts, without what depends on the upstream. It adds the
// errors to e.
func (t *TLS) parse(from texts, e *field.Errors) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if from.ca != nil {
		certs, err := pemfile.Certificates(from.ca)
		checkFile(e, "TLS.CA", t.CA, err)
		c.RootCAs = x509.NewCertPool()
		for _, cert := range certs {
			c.RootCAs.AddCert(cert)
		}
	}
	if from.cert != nil && from.key != nil {
		_, err := pemfile.Certificates(from.cert)
		checkFile(e, "TLS.Cert", t.Cert, err)
		if err == nil {
			cert, err := tls.X509KeyPair(from.cert, from.key)
			checkFile(e, "TLS.Key", t.Key, err) // the certificate was parsed above
			c.Certificates = []tls.Certificate{cert}
		}
	}
	return c
}

// checkFile adds err to e, if there is one.
func checkFile(e *field.Errors, name, file string, err error) {
	if err != nil {
		e.Check(false, name, file, "cannot be used: "+err.Error())
	}
}

// reloadEvery is the minimum time between two reads of the files. They are read before a
// handshake, and compared as a whole: equal times and sizes do not prove that they have not
// changed.
const reloadEvery = time.Second

// tlsFiles keeps the configurations of the upstreams up to date with the files of TLS.
type tlsFiles struct {
	proxy *Proxy

	mu      sync.Mutex
	looked  time.Time // the last read of the files
	texts   texts
	loaded  []*tls.Config // from texts, one for each upstream; nil before the first
	failing bool          // the last reload has failed, and the log has it
}

// load reads the files for the first time. If that fails, each handshake tries it again, and
// tells why.
func (f *tlsFiles) load() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loadLocked()
}

// config returns the configuration of handshakes with an upstream. If the files cannot be used,
// for example while they are being written, it returns the previous one.
func (f *tlsFiles) config(u *upstream) (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded != nil && time.Since(f.looked) < reloadEvery {
		return f.loaded[u.index], nil
	}
	first := f.loaded == nil
	changed, err := f.loadLocked()
	if first && err != nil {
		return nil, err
	}
	log := f.proxy.log()
	switch {
	case changed && !first:
		log.Info("certificates for upstreams reloaded", "ca", f.proxy.Config.TLS.CA, "cert", f.proxy.Config.TLS.Cert)
	case err != nil && !f.failing:
		log.Warn("certificates for upstreams cannot be reloaded, keeping the previous ones", "err", err)
	}
	f.failing = err != nil
	return f.loaded[u.index], nil
}

// loadLocked reads the files, and takes over their contents if they have changed. Instead of
// files there may be Proxy.TLSConfig, which does not change.
func (f *tlsFiles) loadLocked() (changed bool, err error) {
	cfg, e := &f.proxy.Config.TLS, field.Errors{}
	f.looked = time.Now()
	if own := f.proxy.TLSConfig; own != nil {
		if f.loaded == nil {
			f.loaded = f.each(own)
		}
		return false, nil
	}
	next := cfg.read(&e)
	if e.Err() == nil && f.loaded != nil && next.equal(&f.texts) {
		return false, nil
	}
	base := cfg.parse(next, &e)
	if err := e.Err(); err != nil {
		return false, err
	}
	base.ServerName = cfg.ServerName
	f.texts, f.loaded = next, f.each(base)
	return true, nil
}

// each returns the configuration of each upstream. Sessions are not taken over from those of
// before: what a certificate has proved then may not hold any more.
func (f *tlsFiles) each(base *tls.Config) []*tls.Config {
	list := make([]*tls.Config, len(f.proxy.upstreams))
	for i, u := range f.proxy.upstreams {
		c := base.Clone()
		c.Renegotiation = tls.RenegotiateNever // a handshake cannot wait on a poller
		if c.ServerName == "" && u.network != "unix" {
			c.ServerName, _, _ = net.SplitHostPort(u.address) // it was checked
		}
		if c.ClientSessionCache == nil {
			c.ClientSessionCache = &lastSession{}
		}
		list[i] = c
	}
	return list
}

// lastSession is the tls.ClientSessionCache of one upstream, which has no use for the key.
type lastSession struct {
	mu      sync.Mutex
	session *tls.ClientSessionState
}

// Get implements tls.ClientSessionCache.
func (l *lastSession) Get(string) (session *tls.ClientSessionState, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.session != nil
}

// Put implements tls.ClientSessionCache.
func (l *lastSession) Put(_ string, session *tls.ClientSessionState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = session
}

// errPanicked is why a handshake has failed in which a function of Proxy.TLSConfig panicked.
var errPanicked = errors.New("a function of the tls.Config panicked")

// handshake makes conn the client's end of a TLS connection to the upstream. It closes conn if
// that fails.
func (u *upstream) handshake(ctx context.Context, conn net.Conn) (secure net.Conn, err error) {
	defer func() {
		if v := recover(); v != nil {
			u.proxy.log().Error("TLS handshake with an upstream panicked", "upstream", u.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = errPanicked
		}
		if err != nil {
			conn.Close()
			secure, err = nil, fmt.Errorf("TLS handshake with %s: %w", u.name, err)
		}
	}()
	config, err := u.proxy.tlsFiles.config(u)
	if err != nil {
		return nil, err
	}
	t := transport.Client(conn, config)
	return t.Conn(), t.Conn().HandshakeContext(ctx)
}

// tlsOf returns the TLS of a connection to an upstream; nil if it is plain.
func tlsOf(conn net.Conn) *transport.TLS {
	c, _ := conn.(*tls.Conn)
	return transport.Of(c)
}
