package tcp

import (
	"crypto/tls"
	"net"
	"testing"
)

// A bare socket that needs a handshake would have to be given to package net first.
func TestListenerUnderTLS(t *testing.T) {
	for _, test := range []struct {
		name       string
		tls        *tls.Config
		hidden     bool
		raw, plain bool
	}{
		{"plain", nil, false, true, true},
		{"TLS", &tls.Config{}, false, false, true},
		{"hidden", nil, true, false, false},
		{"hidden, TLS", &tls.Config{}, true, false, false},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if test.hidden {
			ln = struct{ net.Listener }{ln}
		}
		s := &Server{TLSConfig: test.tls}
		s.init()
		l := s.newListener(t.Context(), ln, nil)
		if raw, plain := l.acceptsBare(), l.raw != nil; raw != test.raw || plain != test.plain {
			t.Errorf("%s: bare sockets are accepted: %v, and made of connections: %v", test.name, raw, plain)
		}
		l.close()
	}
}
