package tcp

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wireline/internal/pemfile"
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
	if _, err := pemfile.Certificates(texts[0]); p.refuse(e, p.certField, p.cert, err) || texts[1] == nil {
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
