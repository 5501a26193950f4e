package tcp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wireline/lib/field"
)

// keyPair names the files of a certificate and its key.
type keyPair struct {
	cert, key string

	// The fields of TLSFiles that an error is about. The value of a field may be another
	// than the file; then the reason names the file.
	certField, keyField string
	value               any
}

// mainPair is the pair of TLS.Cert and TLS.Key.
func (c *TLSFiles) mainPair() keyPair {
	return keyPair{cert: c.Cert, key: c.Key, certField: "TLS.Cert", keyField: "TLS.Key"}
}

// listedPair is the pair of an item of TLS.Certificates. Files are separated by "=", which
// is rare in the names of files on any system, unlike a colon or a space.
func (c *TLSFiles) listedPair(item string) (p keyPair, ok bool) {
	cert, key, two := strings.Cut(item, "=")
	if !two {
		key = cert
	}
	const name = "TLS.Certificates"
	return keyPair{cert, key, name, name, c.Certificates}, cert != "" && key != "" && !strings.Contains(key, "=")
}

// pairInDir is the pair of a name in TLS.CertificateDir.
func (c *TLSFiles) pairInDir(name string) keyPair {
	file := filepath.Join(c.CertificateDir, name)
	const field = "TLS.CertificateDir"
	return keyPair{file + ".crt", file + ".key", field, field, c.CertificateDir}
}

// namesInDir returns the names of the pairs in TLS.CertificateDir, in their order. Where
// only one file of a pair is there, the name is, too.
func (c *TLSFiles) namesInDir() (names []string, err error) {
	entries, err := os.ReadDir(c.CertificateDir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		file := entry.Name()
		extension := filepath.Ext(file)
		if file[0] != '.' && (extension == ".crt" || extension == ".key") {
			names = append(names, strings.TrimSuffix(file, extension))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// refuse adds err to e, if there is one, and reports whether there is.
func (p *keyPair) refuse(e *field.Errors, name, file string, err error) bool {
	switch {
	case err == nil:
		return false
	case p.value == nil:
		return useless(e, name, file, err)
	case !strings.Contains(err.Error(), file):
		err = fmt.Errorf("%s: %w", file, err)
	}
	e.Check(false, name, p.value, "cannot be used: "+err.Error())
	return true
}

// read implements source.
func (p keyPair) read(e *field.Errors) [][]byte {
	cert, err := os.ReadFile(p.cert)
	if p.refuse(e, p.certField, p.cert, err) {
		cert = nil
	}
	key, err := os.ReadFile(p.key)
	if p.refuse(e, p.keyField, p.key, err) {
		key = nil
	}
	return [][]byte{cert, key}
}

// parse implements source.
func (p keyPair) parse(texts [][]byte, e *field.Errors) *tls.Certificate {
	if texts[0] == nil {
		return nil
	}
	if _, err := certificatesIn(texts[0]); p.refuse(e, p.certField, p.cert, err) || texts[1] == nil {
		return nil
	}
	cert, err := tls.X509KeyPair(texts[0], texts[1])
	p.refuse(e, p.keyField, p.key, err) // the certificate was parsed above
	return &cert
}

// String implements source.
func (p keyPair) String() string { return p.cert }

// readFile returns the contents of a file. If it cannot be read, it returns nil, and adds
// the error to e.
func readFile(e *field.Errors, name, file string) []byte {
	text, err := os.ReadFile(file)
	if useless(e, name, file, err) {
		return nil
	}
	return text
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
	blocks, err := blocksIn(text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	for i, der := range blocks {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("contains no certificate in PEM")
	}
	return certs, nil
}

// blocksIn returns the contents of the blocks of one type in a PEM file. A block of any
// type that is not whole is an error.
func blocksIn(text []byte, what string) (found [][]byte, err error) {
	begun, whole := bytes.Count(text, []byte("-----BEGIN ")), 0
	block, rest := pem.Decode(text)
	for ; block != nil; block, rest = pem.Decode(rest) {
		whole++
		if block.Type == what { // the key may be in the same file
			found = append(found, block.Bytes)
		}
	}
	if begun != whole || len(found) > 0 && len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("cut off or damaged after %d whole blocks", whole)
	}
	return found, nil
}
