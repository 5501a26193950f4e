package main

import (
	"crypto/tls"
	"slices"
)

// isFor reports whether the certificate of a client is for the device with the id: its common name, or a DNS
// name in it, is the id. state is nil without TLS.
func isFor(state *tls.ConnectionState, id string) bool {
	if state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	own := state.PeerCertificates[0]
	return own.Subject.CommonName == id || slices.Contains(own.DNSNames, id)
}
