package testutil

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Authority is a certificate authority.
type Authority struct {
	PEM []byte // its own certificate, PEM-encoded

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority returns an authority with a new self-signed certificate.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{}
	a.cert, a.key, a.PEM = a.sign(t, true, "authority")
	return a
}

// Intermediate returns an authority whose certificate a has signed.
func (a *Authority) Intermediate(t testing.TB, name string) *Authority {
	t.Helper()
	b := &Authority{}
	b.cert, b.key, b.PEM = a.sign(t, true, name)
	return b
}

var serial atomic.Int64

// A certificate is valid at every time that a test may see: the clock of synctest begins in 2000, and
// one certificate may serve tests on both clocks. The end is that of a certificate that never expires
// (RFC 5280, 4.1.2.5).
var (
	validFrom  = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// sign returns a new certificate for names, signed by the authority. An authority
// without a certificate makes a self-signed one.
func (a *Authority) sign(t testing.TB, isCA bool, names ...string) (cert *x509.Certificate, key *ecdsa.PrivateKey, text []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: validFrom, NotAfter: validUntil,
		BasicConstraintsValid: true, IsCA: isCA,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if isCA {
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Issue returns a new certificate for names and its key, both PEM-encoded.
func (a *Authority) Issue(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	_, private, cert := a.sign(t, false, names...)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Client returns the configuration of a client that trusts the authority and connects
// to the server name.
func (a *Authority) Client(name string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: name}
}

// SelfSigned returns a certificate for servers whose clients do not verify it.
func SelfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	a := NewAuthority(t)
	return tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
}

// ReplaceFile replaces a file atomically: readers see either the old text or the new
// one.
func ReplaceFile(t testing.TB, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}
