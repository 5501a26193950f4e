package transport_test

import (
	"crypto/tls"
	"testing"

	"wireline/internal/testutil"
	"wireline/internal/transport"
	"wireline/tcptest"
)

// State tells nothing before the end of a handshake, does not wait for it, and does not disturb it.
func TestState(t *testing.T) {
	near, far := tcptest.Pipe()
	defer near.Close()
	defer far.Close()
	server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, ServerName: "name.test"})
	if _, ok := transport.State(server); ok {
		t.Error("there is a state before the handshake")
	}
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	for range 1000 { // the handshake begins meanwhile
		if _, ok := transport.State(server); ok {
			t.Fatal("there is a state within the handshake")
		}
	}
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := testutil.Await(t, "the handshake", done); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if state, ok := transport.State(server); !ok || state.ServerName != "name.test" {
			t.Errorf("state %+v, %v", state, ok)
		}
	}
	client.Close()
	server.Close()
	if state, ok := transport.State(server); !ok || state.ServerName != "name.test" {
		t.Errorf("after Close: state %+v, %v", state, ok)
	}
}
