package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"wireline/lib/field"
)

// TLSFiles makes the server speak TLS, with certificates from files. The zero value means
// no TLS. All files are watched: changed contents are used for new connections.
type TLSFiles struct {
	// Cert is the file with the certificate and the intermediate ones, in PEM; Key is
	// the file with its private key. Both are set, or none. The first certificate of
	// all, which is this one if it is set, is for clients that send no server name
	// (SNI), or one that no certificate is for.
	Cert string `config:"cert" help:"file with the certificate chain in PEM; if set, the server speaks TLS"`
	Key  string `config:"key" help:"file with the certificate's private key in PEM"`

	// Certificates are more pairs: each CERT=KEY, or one file that has both. The server
	// name of the client chooses: a certificate for exactly this name, or else one with
	// a wildcard.
	Certificates []string `config:"certificates" help:"more certificates, chosen by the server name (SNI): CERT=KEY each, or one file with both"`

	// CertificateDir is a folder with more pairs, NAME.crt and NAME.key. They may come
	// and go while the server runs. Files whose name begins with a dot are ignored.
	CertificateDir string `config:"certificate_dir" help:"folder with more certificates, NAME.crt and NAME.key, which may come and go"`

	// ClientCA is a file with certificates in PEM: one of these must have signed the
	// certificate of a client.
	ClientCA string `config:"client_ca" help:"file with the certificates that must have signed those of clients; empty = clients need none"`

	// ClientAuth says whether clients need a certificate. Empty means
	// ClientAuthRequire if ClientCA is set, else ClientAuthNone.
	ClientAuth ClientAuth `config:"client_auth" help:"certificates of clients: none, request (verified if given) or require; empty = require if client_ca is set"`

	// CRL is a file with the revocation lists of the authorities in ClientCA, in PEM, or
	// one in DER. If it is set, a certificate needs a list of its issuer that is in
	// force and does not name it. That holds for resumed sessions, too.
	CRL string `config:"crl" help:"file with the revocation lists of client_ca (PEM, or one in DER); clients without a valid one for their issuer are refused"`

	// OCSPStaple is a file with an OCSP response in DER, which goes with the first
	// certificate. One that has expired is ignored, with a warning in the log.
	OCSPStaple string `config:"ocsp_staple" help:"file with an OCSP response (DER) that is sent with the first certificate"`

	// MinVersion and MaxVersion are the lowest and the highest version of TLS: 1.2 or
	// 1.3. Empty means 1.2 and the newest.
	MinVersion string `config:"min_version" default:"1.2" help:"1.2 or 1.3"`
	MaxVersion string `config:"max_version" help:"1.2 or 1.3, empty = the newest"`

	// CipherSuites and Curves are names of those that may be used, in no order: of
	// tls.CipherSuites, for TLS 1.2, and of Curves. Empty means the choice of
	// crypto/tls.
	CipherSuites []string `config:"cipher_suites" help:"cipher suites of TLS 1.2, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; empty = the choice of Go"`
	Curves       []string `config:"curves" help:"key exchanges: X25519, P-256, P-384, P-521, X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024; empty = the choice of Go"`

	// ALPN lists the application protocols of the server, the preferred first (RFC
	// 7301). A client that names only others is refused. Empty means that the server
	// does not use ALPN.
	ALPN []string `config:"alpn" help:"application protocols offered, the preferred first"`

	// MaxHandshakes limits how many handshakes are computed at the same time; further
	// ones queue, within the HandshakeTimeout. One that waits for its client does not
	// count. Zero means half of the processors. It holds for Server.TLSConfig, too.
	MaxHandshakes int `config:"max_handshakes" default:"0" help:"handshakes computed at the same time, further ones queue; 0 = half of the processors"`
}

// defaultHandshakeTimeout is used when Config.HandshakeTimeout is zero.
const defaultHandshakeTimeout = 10 * time.Second

// enabled reports whether the server is to speak TLS.
func (c *TLSFiles) enabled() bool {
	return c.Cert != "" || c.Key != "" || len(c.Certificates) > 0 || c.CertificateDir != ""
}

// check adds what is wrong to e.
func (c *TLSFiles) check(e *field.Errors) {
	c.checkNames(e)
	e.Check(c.MaxHandshakes >= 0, "TLS.MaxHandshakes", c.MaxHandshakes, "must not be negative")
	if !c.enabled() {
		c.checkDisabled(e)
		return
	}
	e.Check(c.Cert == "" || c.Key != "", "TLS.Key", c.Key, "must be set, as cert is")
	e.Check(c.Key == "" || c.Cert != "", "TLS.Cert", c.Cert, "must be set, as key is")
	c.checkClientAuth(e)
	_, err := loadCredentials(c)
	e.Add(err)
}

// checkDisabled adds an error to e for each setting that has no effect without a
// certificate. MaxHandshakes may have one, by Server.TLSConfig.
func (c *TLSFiles) checkDisabled(e *field.Errors) {
	unset := func(ok bool, name string, value any) {
		e.Check(ok, name, value, "needs a certificate of the server: set cert and key")
	}
	unset(c.ClientCA == "", "TLS.ClientCA", c.ClientCA)
	unset(c.ClientAuth == "" || c.ClientAuth == ClientAuthNone, "TLS.ClientAuth", c.ClientAuth)
	unset(c.CRL == "", "TLS.CRL", c.CRL)
	unset(c.OCSPStaple == "", "TLS.OCSPStaple", c.OCSPStaple)
	unset(c.MinVersion != "1.3", "TLS.MinVersion", c.MinVersion) // 1.2 is the default
	unset(c.MaxVersion == "", "TLS.MaxVersion", c.MaxVersion)
	unset(len(c.CipherSuites) == 0, "TLS.CipherSuites", c.CipherSuites)
	unset(len(c.Curves) == 0, "TLS.Curves", c.Curves)
	unset(len(c.ALPN) == 0, "TLS.ALPN", c.ALPN)
}

// tlsConfig returns the configuration of the server's handshakes; nil without TLS.
//
// One configuration is made for each reload, and none for each connection: an idle
// connection keeps what it was made with. The ticket keys are the server's: so tickets outlive a
// reload.
//
// prev are the settings before; nil if there were none. Their configuration goes on if the files
// are the same.
func (s *Server) tlsConfig(files *TLSFiles, prev *settings) (*tls.Config, error) {
	switch {
	case s.TLSConfig != nil:
		return s.TLSConfig, nil
	case !files.enabled():
		return nil, nil
	case prev != nil && prev.tls != nil && files.same(&prev.TLS):
		return prev.tls, nil
	}
	return files.serverConfig(s.log, &s.tickets)
}

// same reports whether handshakes by c and by other are the same.
func (c TLSFiles) same(other *TLSFiles) bool {
	c.MaxHandshakes = other.MaxHandshakes
	return reflect.DeepEqual(&c, other)
}

// ServerConfig returns a configuration for a server's handshakes that a Server does not make, as
// those of handler.Client.StartTLS. It uses the files as a Server does: it reads them again when they
// change, and reports to log what cannot be used; nil means slog.Default(). Ticket keys rotate.
// MaxHandshakes has no effect. Call it once, and use the result for all connections. It is an error
// if c is not valid or has no certificate.
func (c TLSFiles) ServerConfig(log *slog.Logger) (*tls.Config, error) {
	var e field.Errors
	e.Check(c.enabled(), "TLS.Cert", c.Cert, "must be set")
	c.check(&e)
	if err := e.Err(); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	if log == nil {
		log = slog.Default()
	}
	return c.serverConfig(func() *slog.Logger { return log }, new(tickets))
}

// serverConfig is ServerConfig with ticket keys of the caller's.
func (c *TLSFiles) serverConfig(log func() *slog.Logger, keys *tickets) (*tls.Config, error) {
	files, err := loadCredentials(c)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	files.log = log
	files.build()
	return files.watched(log, keys), nil
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
