package tcp

import (
	"crypto/tls"
	"strings"
)

// certificates are those that a server has, the default first.
type certificates struct {
	all    []*tls.Certificate
	byName map[string][]*tls.Certificate // by server name, or by wildcard as *.example.com
}

func newCertificates(all []*tls.Certificate) *certificates {
	c := &certificates{all, map[string][]*tls.Certificate{}}
	for _, cert := range all {
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			c.byName[name] = append(c.byName[name], cert)
		}
	}
	return c
}

// choose returns the certificate for a client: one for exactly its server name, else one
// with a wildcard, else the default. Where several come into question, such as one with an
// RSA key and one with an ECDSA key, it is the first that the client supports.
func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(c.all) == 1 {
		return c.all[0], nil
	}
	name := strings.ToLower(hello.ServerName)
	candidates := c.byName[name]
	if candidates == nil {
		_, domain, _ := strings.Cut(name, ".")
		candidates = c.byName["*."+domain]
	}
	if candidates == nil {
		anonymous := *hello // or SupportsCertificate would look at the name
		anonymous.ServerName = ""
		hello, candidates = &anonymous, c.all
	}
	for _, cert := range candidates {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return candidates[0], nil
}
