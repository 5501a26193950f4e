package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"testing"
	"time"

	"wireline/examples/gateway/protocol"
	"wireline/internal/testutil"
)

func TestIsFor(t *testing.T) {
	named := &x509.Certificate{Subject: pkix.Name{CommonName: "pump"}, DNSNames: []string{"valve", "*.north"}}
	for id, want := range map[string]bool{"pump": true, "valve": true, "Pump": false, "boiler": false, "x.north": false} {
		state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{named, {Subject: pkix.Name{CommonName: "boiler"}}}}
		if got := isFor(state, id); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
	if isFor(nil, "pump") || isFor(&tls.ConnectionState{}, "pump") {
		t.Error("without a certificate")
	}
}

// A device must have the id that its certificate names.
func TestMatchCertificate(t *testing.T) {
	authority := testutil.NewAuthority(t)
	file := func(text []byte) string {
		t.Helper()
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(text); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	cert, key := authority.Issue(t, "gateway")
	g := start(t, "--tcp.tls.cert="+file(cert), "--tcp.tls.key="+file(key), "--tcp.tls.client_ca="+file(authority.PEM),
		"--devices.match_certificate=true")
	pair, err := tls.X509KeyPair(authority.Issue(t, "pump"))
	if err != nil {
		t.Fatal(err)
	}
	dial := func() *wire {
		config := authority.Client("gateway")
		config.Certificates = []tls.Certificate{pair}
		conn, err := tls.Dial("tcp", g.devices, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		return &wire{protocol.NewConn(conn), t}
	}
	other := dial()
	other.send(protocol.Message{Type: protocol.Login, Payload: []byte("boiler")})
	other.ends(protocol.UnknownDevice)
	pump := dial()
	pump.send(protocol.Message{Type: protocol.Login, Payload: []byte("pump")})
	pump.expect(protocol.Welcome)
}
