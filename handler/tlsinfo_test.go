package handler_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/tcptest"
)

// The record says what TLS the client spoke, and the log line says it too.
func TestRecordTLS(t *testing.T) {
	a := testutil.NewAuthority(t)
	pair := func(name string) tls.Certificate {
		cert, key := a.Issue(t, name)
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	client := a.Client("server.test")
	client.Certificates = []tls.Certificate{pair("client.test")}
	client.NextProtos = []string{"lines"}
	client.MaxVersion = tls.VersionTLS12
	client.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	want := handler.TLSInfo{
		Version: "TLS 1.2", Cipher: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		ServerName: "server.test", Protocol: "lines", Subject: "CN=client.test",
	}

	h := echoFrames()
	records := newRecords()
	h.OnRecord = records.Add
	s := tcptest.NewUnstartedServer(h)
	s.TCP.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{pair("server.test")},
		NextProtos:   []string{"lines"},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    client.RootCAs,
	}
	s.Start()
	defer s.Close()
	conn := tls.Client(s.Dial(), client)
	send(t, conn, "a\n")
	receive(t, conn, "a\n")
	conn.Close()
	r := records.Next(t)
	if r.TLS == nil || *r.TLS != want {
		t.Fatalf("TLS is %+v, want %+v", r.TLS, want)
	}

	var log bytes.Buffer
	handler.LogRecords(slog.New(slog.NewTextHandler(&log, nil)))(r)
	logger.Flush(patience)
	const text = `tls.version="TLS 1.2" tls.cipher=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 tls.sni=server.test tls.alpn=lines tls.subject="CN=client.test"`
	if !strings.Contains(log.String(), text) {
		t.Errorf("the log line is %q, want %q in it", &log, text)
	}
}

// A tls.Conn that was passed to Handle may still be in its handshake. Nothing waits for that.
func TestRecordBeforeHandshake(t *testing.T) {
	near, far := tcptest.Pipe()
	h := echoFrames()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Handle(t.Context(), tls.Server(near, &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}))
	}()
	var c *handler.Client
	eventually(t, "the client is there", func() bool {
		for c = range h.Clients().All() {
		}
		return c != nil
	})
	for range 100 {
		known := make(chan bool, 1)
		go func() { known <- c.TLS() != nil || c.Record().TLS != nil }()
		if testutil.Await(t, "the record", known) {
			t.Fatal("there is a state within the handshake")
		}
		time.Sleep(time.Millisecond) // the handshake begins meanwhile
	}
	client := tlsClient(t, far)
	send(t, client, "a\n")
	receive(t, client, "a\n")
	if r := c.Record(); c.TLS() == nil || r.TLS == nil || r.TLS.Version != "TLS 1.3" {
		t.Errorf("after the handshake: record %+v", r)
	}
	client.Close()
	testutil.Await(t, "the handler", done)
}

// After StartTLS, too. Without TLS the record says nothing of it.
func TestRecordStartTLS(t *testing.T) {
	overPlainTransports(t, func() *handler.Frames { return upgrading(t) }, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		conn.Close()
		if r := s.records.Next(t); r.TLS != nil {
			t.Errorf("without TLS: %+v", r.TLS)
		}
		conn = s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "go ahead\n")
		secure(t, conn).Close()
		if r := s.records.Next(t); r.TLS == nil || r.TLS.Version != "TLS 1.3" {
			t.Errorf("after StartTLS: %+v", r.TLS)
		}
	})
}
