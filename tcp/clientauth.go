package tcp

import (
	"crypto/tls"
	"crypto/x509"

	"wireline/internal/pemfile"
	"wireline/internal/tlsfiles"
	"wireline/lib/field"
)

// ClientAuth says whether clients need a certificate. One that has not been verified is
// never accepted.
type ClientAuth string

const (
	// ClientAuthNone asks clients for no certificate.
	ClientAuthNone ClientAuth = "none"
	// ClientAuthRequest asks for one. A client may have none.
	ClientAuthRequest ClientAuth = "request"
	// ClientAuthRequire refuses clients without a certificate.
	ClientAuthRequire ClientAuth = "require"
)

// checkClientAuth adds what is wrong with the settings for clients to e, but for the files.
func (c *TLSFiles) checkClientAuth(e *field.Errors) {
	switch c.ClientAuth {
	case "", ClientAuthNone:
	case ClientAuthRequest, ClientAuthRequire:
		e.Check(c.ClientCA != "", "TLS.ClientAuth", c.ClientAuth, "needs client_ca")
	default:
		e.Check(false, "TLS.ClientAuth", c.ClientAuth, "must be none, request or require")
	}
	e.Check(c.CRL == "" || c.ClientCA != "", "TLS.CRL", c.CRL, "needs client_ca, whose lists these are")
}

// clientAuth is the same for crypto/tls.
func (c *TLSFiles) clientAuth() tls.ClientAuthType {
	switch {
	case c.ClientCA == "" || c.ClientAuth == ClientAuthNone:
		return tls.NoClientCert
	case c.ClientAuth == ClientAuthRequest:
		return tls.VerifyClientCertIfGiven
	}
	return tls.RequireAndVerifyClientCert
}

// authorities are those who may sign the certificates of clients, with what they have
// revoked.
type authorities struct {
	pool    *x509.CertPool
	revoked *revocations // nil without lists
}

// authorityFiles are the files of authorities. They belong together: a list must be signed
// by one of the certificates.
type authorityFiles struct{ *TLSFiles }

// Read implements tlsfiles.Source.
func (f authorityFiles) Read(r *tlsfiles.Reader, e *field.Errors) [][]byte {
	texts := [][]byte{tlsfiles.Text(r, e, "TLS.ClientCA", f.ClientCA), nil}
	if f.CRL != "" {
		texts[1] = tlsfiles.Text(r, e, "TLS.CRL", f.CRL)
	}
	return texts
}

// Parse implements tlsfiles.Source.
func (f authorityFiles) Parse(texts [][]byte, e *field.Errors) *authorities {
	if texts[0] == nil {
		return nil
	}
	certs, err := pemfile.Certificates(texts[0])
	if tlsfiles.Useless(e, "TLS.ClientCA", f.ClientCA, err) {
		return nil
	}
	a := &authorities{pool: x509.NewCertPool()}
	for _, cert := range certs {
		a.pool.AddCert(cert)
	}
	if f.CRL != "" && texts[1] != nil {
		a.revoked, err = revocationsIn(texts[1], certs)
		tlsfiles.Useless(e, "TLS.CRL", f.CRL, err)
	}
	return a
}

// String implements tlsfiles.Source.
func (f authorityFiles) String() string { return f.ClientCA }
