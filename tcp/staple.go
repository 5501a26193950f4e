package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"

	"wireline/internal/tlsfiles"
	"wireline/lib/field"
)

// staple is an OCSP response in DER (RFC 6960), for the extension status_request (RFC 6066,
// section 8). It says that a certificate has not been revoked.
type staple []byte

// stapleFile is the file of a staple.
type stapleFile struct{ *TLSFiles }

// Read implements tlsfiles.Source.
func (f stapleFile) Read(r *tlsfiles.Reader, e *field.Errors) [][]byte {
	return [][]byte{tlsfiles.Text(r, e, "TLS.OCSPStaple", f.OCSPStaple)}
}

// Parse implements tlsfiles.Source.
func (f stapleFile) Parse(texts [][]byte, e *field.Errors) staple {
	if texts[0] == nil {
		return nil
	}
	_, err := ocsp.ParseResponse(texts[0], nil)
	tlsfiles.Useless(e, "TLS.OCSPStaple", f.OCSPStaple, err)
	return texts[0]
}

// String implements tlsfiles.Source.
func (f stapleFile) String() string { return f.OCSPStaple }

var errStapleExpired = errors.New("has expired")

// check reports why the response cannot go with cert now. The signature is checked if cert
// comes with the certificate of its issuer.
func (s staple) check(cert *tls.Certificate) error {
	var signer *x509.Certificate
	if len(cert.Certificate) > 1 {
		var err error
		if signer, err = x509.ParseCertificate(cert.Certificate[1]); err != nil {
			return err
		}
	}
	response, err := ocsp.ParseResponseForCert(s, cert.Leaf, signer)
	switch {
	case err != nil:
		return err
	case response.Status != ocsp.Good:
		return errors.New("does not say that the certificate is good")
	case !response.NextUpdate.IsZero() && time.Now().After(response.NextUpdate):
		return fmt.Errorf("%w at %s", errStapleExpired, response.NextUpdate.Format(time.RFC3339))
	}
	return nil
}
