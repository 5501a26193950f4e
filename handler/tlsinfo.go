package handler

import (
	"crypto/tls"
	"log/slog"
	"sync"

	"wireline/internal/transport"
)

// TLSInfo is what a Record says about the TLS of a connection.
type TLSInfo struct {
	Version    string // as "TLS 1.3"
	Cipher     string // the name of the cipher suite
	ServerName string // that the client asked for; empty if it named none
	Protocol   string // of ALPN; empty if none was agreed on
	Subject    string // of the client's certificate; empty if it showed none
}

// NewTLSInfo returns the information about conn; nil if conn is nil, or its handshake is not
// complete. It does not wait.
func NewTLSInfo(conn *tls.Conn) *TLSInfo {
	if conn == nil {
		return nil
	}
	state, ok := transport.State(conn)
	if !ok {
		return nil
	}
	info := &TLSInfo{
		Version:    tls.VersionName(state.Version),
		Cipher:     cipherName(state.CipherSuite),
		ServerName: state.ServerName,
		Protocol:   state.NegotiatedProtocol,
	}
	if len(state.PeerCertificates) > 0 {
		info.Subject = state.PeerCertificates[0].Subject.String()
	}
	return info
}

// cipherNames are the names that tls.CipherSuiteName has looked up: it makes lists of all suites
// for each call.
var cipherNames sync.Map // of string by uint16

// cipherName is tls.CipherSuiteName.
func cipherName(suite uint16) string {
	if name, ok := cipherNames.Load(suite); ok {
		return name.(string)
	}
	name := tls.CipherSuiteName(suite)
	cipherNames.Store(suite, name)
	return name
}

// LogValue implements slog.LogValuer. It leaves out what is empty.
func (i *TLSInfo) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 5)
	for _, a := range []struct{ key, value string }{
		{"version", i.Version}, {"cipher", i.Cipher}, {"sni", i.ServerName}, {"alpn", i.Protocol}, {"subject", i.Subject},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	return slog.GroupValue(attrs...)
}
