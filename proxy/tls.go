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

	"wireline/internal/pemfile"
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
			network, _, _ := parseUpstream(u)
			e.Check(network != "unix", "TLS.ServerName", "", "must be set for the upstream "+u+", whose address has no host")
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

// upstreamTLS are the configurations of the upstreams, up to date with the files of TLS.
type upstreamTLS struct {
	proxy   *Proxy
	own     []*tls.Config                    // made of Proxy.TLSConfig, which is used instead of files
	current *tlsfiles.Watch[upstreamConfigs] // nil with own

	// The goroutine that reads the files owns these.
	files    *tlsfiles.Part[*tls.Config]
	last     upstreamConfigs
	problems tlsfiles.Problems
}

// upstreamConfigs has one configuration for each upstream, or else the error with the files: a
// program that has not asked Validate learns of it by the first handshake.
type upstreamConfigs struct {
	each []*tls.Config
	err  error
}

// load reads the files for the first time.
func (t *upstreamTLS) load() {
	if own := t.proxy.TLSConfig; own != nil {
		t.own = t.each(own)
		return
	}
	t.files = tlsfiles.NewPart(t.proxy.Config.TLS.source())
	t.problems = tlsfiles.Problems{}
	t.begin(tlsfiles.NewReader())
	t.current = tlsfiles.NewWatch(t.last, t.reload, t.proxy.log)
}

// begin reads the files when there are no configurations yet.
func (t *upstreamTLS) begin(r *tlsfiles.Reader) {
	_, err := t.files.Load(r)
	if t.last.err = err; err == nil {
		t.last.each = t.each(t.files.Value)
	}
}

// reload reads the files again, and returns the configurations. If the files cannot be used, for
// example while they are being written, it returns the previous ones.
func (t *upstreamTLS) reload(r *tlsfiles.Reader) upstreamConfigs {
	if t.last.each == nil {
		t.begin(r)
		return t.last
	}
	log := t.proxy.log()
	changed, err := t.files.Load(r)
	t.problems.Note(log, t.files.String(), err, "certificates for upstreams cannot be reloaded, keeping the previous ones")
	if changed {
		log.Info("certificates for upstreams reloaded", "ca", t.proxy.Config.TLS.CA, "cert", t.proxy.Config.TLS.Cert)
		t.last.each = t.each(t.files.Value)
	}
	return t.last
}

// config returns the configuration of a handshake with an upstream.
func (t *upstreamTLS) config(u *upstream) (*tls.Config, error) {
	if t.own != nil {
		return t.own[u.index], nil
	}
	t.current.Refresh()
	now := t.current.Get()
	if now.err != nil {
		return nil, now.err
	}
	return now.each[u.index], nil
}

// each returns the configuration of each upstream. Sessions are not taken over from those of
// before: what a certificate has proved then may not hold any more.
func (t *upstreamTLS) each(base *tls.Config) []*tls.Config {
	list := make([]*tls.Config, len(t.proxy.upstreams))
	for i, u := range t.proxy.upstreams {
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
		list[i] = c
	}
	return list
}

// errPanicked is why a handshake has failed in which a function of Proxy.TLSConfig panicked, or
// called runtime.Goexit.
var errPanicked = errors.New("a function of the tls.Config panicked")

// handshake makes conn the client's end of a TLS connection to the upstream. It closes conn if
// that fails. It ends with ctx even if a function of Proxy.TLSConfig blocks.
func (u *upstream) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	config, err := u.proxy.upstreamTLS.config(u)
	if err == nil {
		secure, done := transport.Client(conn, config).Conn(), make(chan error, 1)
		go u.computeHandshake(ctx, secure, done)
		select {
		case err = <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err == nil {
			return secure, nil
		}
	}
	conn.Close()
	return nil, fmt.Errorf("TLS handshake with %s: %w", u.name, err)
}

// computeHandshake makes a handshake and sends its result to done, which has room for it.
func (u *upstream) computeHandshake(ctx context.Context, conn *tls.Conn, done chan<- error) {
	returned := false
	defer func() {
		if !returned {
			v := recover()
			done <- errPanicked
			u.logPanic("TLS handshake with an upstream panicked", v)
		}
	}()
	err := conn.HandshakeContext(ctx)
	returned = true
	done <- err
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
