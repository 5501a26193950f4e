package tcp

import (
	"path/filepath"
	"slices"
	"strings"

	"wireline/internal/tlsfiles"
)

// mainPair is the pair of TLS.Cert and TLS.Key.
func (c *TLSFiles) mainPair() tlsfiles.Pair {
	return tlsfiles.Pair{Cert: c.Cert, Key: c.Key, CertField: "TLS.Cert", KeyField: "TLS.Key"}
}

// listedPair is the pair of an item of TLS.Certificates. Files are separated by "=", which
// is rare in the names of files on any system, unlike a colon or a space.
func (c *TLSFiles) listedPair(item string) (p tlsfiles.Pair, ok bool) {
	cert, key, two := strings.Cut(item, "=")
	if !two {
		key = cert
	}
	const name = "TLS.Certificates"
	return tlsfiles.Pair{Cert: cert, Key: key, CertField: name, KeyField: name, Value: c.Certificates}, cert != "" && key != "" && !strings.Contains(key, "=")
}

// pairInDir is the pair of a name in TLS.CertificateDir.
func (c *TLSFiles) pairInDir(name string) tlsfiles.Pair {
	file := filepath.Join(c.CertificateDir, name)
	const field = "TLS.CertificateDir"
	return tlsfiles.Pair{Cert: file + ".crt", Key: file + ".key", CertField: field, KeyField: field, Value: c.CertificateDir}
}

// namesInDir returns the names of the pairs in TLS.CertificateDir, in their order. Where
// only one file of a pair is there, the name is, too.
func (c *TLSFiles) namesInDir(r *tlsfiles.Reader) (names []string, err error) {
	entries, err := r.Dir(c.CertificateDir)
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
