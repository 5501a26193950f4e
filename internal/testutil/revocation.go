package testutil

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// CRL returns a revocation list of the authority, PEM-encoded. It is in force until
// expires, and names the certificates, which are PEM-encoded.
func (a *Authority) CRL(t testing.TB, expires time.Time, revoked ...[]byte) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(serial.Add(1)), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: expires}
	for _, text := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: parse(t, text).SerialNumber, RevocationTime: list.ThisUpdate})
	}
	return a.SignCRL(t, list)
}

// SignCRL returns any revocation list of the authority, PEM-encoded.
func (a *Authority) SignCRL(t testing.TB, list *x509.RevocationList) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// OCSP returns the authority's OCSP response about a certificate, which is PEM-encoded:
// status is one of package ocsp's. The response is in DER.
func (a *Authority) OCSP(t testing.TB, cert []byte, status int, expires time.Time) []byte {
	t.Helper()
	der, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
		Status: status, SerialNumber: parse(t, cert).SerialNumber, RevokedAt: time.Now().Add(-time.Hour),
		ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: expires,
	}, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// parse returns the first certificate of a PEM text.
func parse(t testing.TB, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
