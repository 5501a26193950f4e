package tlsfiles

import (
	"crypto/tls"
	"fmt"
	"strings"

	"wireline/internal/pemfile"
	"wireline/lib/field"
)

// Pair names the files of a certificate and its key. It is the Source of the certificate. The
// two may be the same file.
type Pair struct {
	Cert, Key string

	// CertField and KeyField are the fields of the settings that an error is about. Value
	// is the value of these fields if it is another than the file; then the reason names
	// the file.
	CertField, KeyField string
	Value               any
}

// Read implements Source. A file without a name has no text.
func (p Pair) Read(r *Reader, e *field.Errors) [][]byte {
	return [][]byte{p.text(r, e, p.CertField, p.Cert), p.text(r, e, p.KeyField, p.Key)}
}

// text returns the contents of one of the files.
func (p *Pair) text(r *Reader, e *field.Errors, name, file string) []byte {
	if file == "" {
		return nil
	}
	text, err := r.File(file)
	if p.refuse(e, name, file, err) {
		return nil
	}
	return text
}

// Parse implements Source.
func (p Pair) Parse(texts [][]byte, e *field.Errors) *tls.Certificate {
	if texts[0] == nil {
		return nil
	}
	if _, err := pemfile.Certificates(texts[0]); p.refuse(e, p.CertField, p.Cert, err) || texts[1] == nil {
		return nil
	}
	cert, err := tls.X509KeyPair(texts[0], texts[1])
	p.refuse(e, p.KeyField, p.Key, err) // the certificate was parsed above
	return &cert
}

// String implements Source.
func (p Pair) String() string { return p.Cert }

// refuse adds err to e, if there is one, and reports whether there is.
func (p *Pair) refuse(e *field.Errors, name, file string, err error) bool {
	switch {
	case err == nil:
		return false
	case p.Value == nil:
		return Useless(e, name, file, err)
	case !strings.Contains(err.Error(), file):
		err = fmt.Errorf("%s: %w", file, err)
	}
	e.Check(false, name, p.Value, "cannot be used: "+err.Error())
	return true
}
