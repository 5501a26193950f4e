package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"wireline/internal/handshakes"
	"wireline/internal/pemfile"
	"wireline/internal/timeout"
	"wireline/internal/tlsfiles"
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
			t, _ := parseUpstream(u)
			e.Check(t.network != "unix", "TLS.ServerName", "", "must be set for the upstream "+u+", whose address has no host")
		}
	}
	c.checkPoolTLS(e)
	_, err := tlsfiles.NewPart(t.source()).Load(tlsfiles.NewReader())
	e.Add(err)
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

// clientFiles are the files of TLS. They belong together: an upstream may have a new authority
// and want a new certificate.
type clientFiles struct {
	*TLS
	pair tlsfiles.Pair
}

func (t *TLS) source() clientFiles {
	return clientFiles{t, tlsfiles.Pair{Cert: t.Cert, Key: t.Key, CertField: "TLS.Cert", KeyField: "TLS.Key"}}
}

// Read implements tlsfiles.Source. What is not set has no text.
func (f clientFiles) Read(r *tlsfiles.Reader, e *field.Errors) [][]byte {
	var ca []byte
	if f.CA != "" {
		ca = tlsfiles.Text(r, e, "TLS.CA", f.CA)
	}
	return append([][]byte{ca}, f.pair.Read(r, e)...)
}

// Parse implements tlsfiles.Source. It makes a configuration without what depends on the
// upstream.
func (f clientFiles) Parse(texts [][]byte, e *field.Errors) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.Insecure, ServerName: f.ServerName}
	if f.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if texts[0] != nil {
		certs, err := pemfile.Certificates(texts[0])
		tlsfiles.Useless(e, "TLS.CA", f.CA, err)
		c.RootCAs = x509.NewCertPool()
		for _, cert := range certs {
			c.RootCAs.AddCert(cert)
		}
	}
	if cert := f.pair.Parse(texts[1:], e); cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	return c
}

// String implements tlsfiles.Source.
func (f clientFiles) String() string { return "files of TLS" }

// upstreamTLS are the configurations of the upstreams, up to date with the files of TLS while the
// settings are in force.
type upstreamTLS struct {
	settings *settings
	loaded   sync.Once
	ready    atomic.Bool                      // load has set the next two
	own      map[*upstream]*tls.Config        // made of Proxy.TLSConfig, which is used instead of files
	current  *tlsfiles.Watch[upstreamConfigs] // nil with own

	// The goroutine that reads the files owns these.
	files    *tlsfiles.Part[*tls.Config]
	last     upstreamConfigs
	problems tlsfiles.Problems
}

// upstreamConfigs has one configuration for each upstream, or else the error with the files: a
// program that has not asked Validate learns of it by the first handshake.
type upstreamConfigs struct {
	each  map[*upstream]*tls.Config
	files tlsfiles.Part[*tls.Config] // of which each is made; not used with Proxy.TLSConfig
	err   error
}

// load reads the files for the first time. A second call does nothing. If nothing about TLS has
// changed since the settings old, which may be nil, their upstreams keep their configurations, and so
// their sessions.
func (t *upstreamTLS) load(old *settings) {
	t.loaded.Do(func() {
		defer t.ready.Store(true)
		former := old.tlsConfigs()
		if own := t.settings.proxy.TLSConfig; own != nil {
			t.own = t.each(own, former.each)
			return
		}
		t.files = new(tlsfiles.Part[*tls.Config])
		if former.each != nil && old.cfg.TLS == t.settings.cfg.TLS {
			*t.files = former.files
		}
		t.files.Source = t.settings.cfg.TLS.source()
		t.problems = tlsfiles.Problems{}
		t.begin(tlsfiles.NewReader(), former.each)
		t.current = tlsfiles.NewWatch(t.last, t.reload, t.settings.proxy.log)
	})
}

// tlsConfigs returns the configurations of the upstreams as they are now; none before load, or for
// nil.
func (s *settings) tlsConfigs() upstreamConfigs {
	switch {
	case s == nil || !s.tls.ready.Load():
		return upstreamConfigs{}
	case s.tls.own != nil:
		return upstreamConfigs{each: s.tls.own}
	}
	return s.tls.current.Get()
}

// err returns what is wrong with the files that were loaded.
func (t *upstreamTLS) err() error {
	if t.own != nil {
		return nil
	}
	return t.current.Get().err
}

// begin reads the files when there are no configurations yet. former are those that go on if the
// files are what they were.
func (t *upstreamTLS) begin(r *tlsfiles.Reader, former map[*upstream]*tls.Config) {
	changed, err := t.files.Load(r)
	if changed {
		former = nil
	}
	if t.last.err = err; err == nil {
		t.use(former)
	}
}

// use makes the configurations of the files that were loaded. Those in former stay.
func (t *upstreamTLS) use(former map[*upstream]*tls.Config) {
	t.last = upstreamConfigs{each: t.each(t.files.Value, former), files: *t.files}
}

// reload reads the files again, and returns the configurations. If the files cannot be used, for
// example while they are being written, it returns the previous ones.
func (t *upstreamTLS) reload(r *tlsfiles.Reader) upstreamConfigs {
	if t.last.each == nil {
		t.begin(r, nil)
		return t.last
	}
	log := t.settings.proxy.log()
	changed, err := t.files.Load(r)
	t.problems.Note(log, t.files.String(), err, "certificates for upstreams cannot be reloaded, keeping the previous ones")
	if changed {
		log.Info("certificates for upstreams reloaded", "ca", t.settings.cfg.TLS.CA, "cert", t.settings.cfg.TLS.Cert)
		t.use(nil)
	}
	return t.last
}

// config returns the configuration of a handshake with an upstream.
func (t *upstreamTLS) config(u *upstream) (*tls.Config, error) {
	t.load(nil) // Start may be called by a client that came after this one
	each := t.own
	if each == nil {
		if t.settings.inForce() {
			t.current.Refresh()
		}
		now := t.current.Get()
		if now.err != nil {
			return nil, now.err
		}
		each = now.each
	}
	if c := each[u]; c != nil {
		return c, nil
	}
	return nil, errRemoved
}

// each returns the configuration of each upstream: that in former, which is made of the same base, or
// else a new one. That has no sessions of before: what a certificate has proved then may not hold
// any more.
func (t *upstreamTLS) each(base *tls.Config, former map[*upstream]*tls.Config) map[*upstream]*tls.Config {
	all := make(map[*upstream]*tls.Config)
	for _, u := range t.settings.upstreams {
		if c := former[u]; c != nil {
			all[u] = c
			continue
		}
		c := base.Clone()
		c.Renegotiation = tls.RenegotiateNever // a handshake cannot wait on a poller
		if c.ServerName == "" && u.network != "unix" {
			c.ServerName, _, _ = net.SplitHostPort(u.address) // it was checked
		}
		if c.ClientSessionCache == nil {
			c.ClientSessionCache = &lastSession{}
		} else {
			c.ClientSessionCache = &foreignSessions{c.ClientSessionCache, u, make(chan struct{}, maxPuts)}
		}
		all[u] = c
	}
	return all
}

// errRemoved is why a connect has failed that the pool or the checks of a removed upstream had begun.
var errRemoved = errors.New("the upstream was removed")

// errPanicked is why a handshake has failed in which a function of Proxy.TLSConfig panicked, or
// called runtime.Goexit.
var errPanicked = errors.New("a function of the tls.Config panicked")

// handshake makes conn the client's end of a TLS connection to the upstream. It closes conn if
// that fails. It ends in time even if a function of Proxy.TLSConfig blocks.
func (u *upstream) handshake(limit *timeout.Timeout, s *settings, conn net.Conn) (net.Conn, error) {
	config, err := s.tls.config(u)
	if err == nil {
		timed, done := limit.Conn(conn), make(chan error, 1)
		secure := transport.Client(timed, config)
		go u.computeHandshake(limit, secure.Conn(), done)
		if err = <-done; err == nil {
			timed.Done()
			secure.SetBase(conn)
			return secure.Conn(), nil
		}
	}
	conn.Close()
	return nil, fmt.Errorf("TLS handshake with %s: %w", u.name, err)
}

// computeHandshake makes a handshake and sends its result to done, which has room for it: once,
// and no later than ctx ends.
func (u *upstream) computeHandshake(ctx context.Context, conn *tls.Conn, done chan<- error) {
	err, mine := u.proxy.handshakes.Make(ctx, handshakes.Handshake{
		Conn:      conn,
		Abandoned: func() { done <- context.Cause(ctx) },
		Panicked: func(v any, abandoned bool) {
			if !abandoned {
				done <- errPanicked
			}
			u.logPanic("TLS handshake with an upstream panicked", v)
		},
	})
	if mine {
		done <- err
	}
}

// logPanic logs a panic with value v; nil is runtime.Goexit. The deferred function calls it.
func (u *upstream) logPanic(message string, v any) {
	if v == nil {
		v = "runtime.Goexit"
	}
	u.proxy.log().Error(message, "upstream", u.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// tlsOf returns the TLS of a connection to an upstream; nil if it is plain.
func tlsOf(conn net.Conn) *transport.TLS {
	c, _ := conn.(*tls.Conn)
	return transport.Of(c)
}
