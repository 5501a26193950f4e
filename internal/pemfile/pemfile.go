// Package pemfile parses PEM files strictly: what is cut off or damaged is an error.
package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Certificates parses all certificates of a PEM file. A certificate that is cut off or
// damaged is an error: crypto/x509 and crypto/tls skip it silently, and later refuse the
// clients that need it.
func Certificates(text []byte) (certs []*x509.Certificate, err error) {
	blocks, err := Blocks(text, "CERTIFICATE")
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

// Blocks returns the contents of the blocks of one type in a PEM file. A block of any
// type that is not whole is an error.
func Blocks(text []byte, what string) (found [][]byte, err error) {
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
