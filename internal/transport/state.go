package transport

import (
	"context"
	"crypto/tls"
	"time"
)

// State returns the state of conn, which may be any tls.Conn. ok is false before the end of its
// handshake. State does not wait; ConnectionState does, as long as the handshake takes.
func State(conn *tls.Conn) (state tls.ConnectionState, ok bool) {
	if !isComplete(conn) {
		return state, false
	}
	return conn.ConnectionState(), true
}

// isComplete reports whether the handshake of conn is complete. HandshakeContext returns at once
// then. Otherwise it asks its context before it does anything (crypto/tls/conn.go,
// handshakeContext), and this one does not let it go on.
func isComplete(conn *tls.Conn) (complete bool) {
	defer func() {
		if v := recover(); v != nil && v != any(unfinished{}) {
			panic(v)
		}
	}()
	return conn.HandshakeContext(unfinished{}) == nil
}

// unfinished is a context that panics with itself when it is used.
type unfinished struct{}

var _ context.Context = unfinished{}

// Deadline implements context.Context.
func (u unfinished) Deadline() (time.Time, bool) { panic(u) }

// Done implements context.Context.
func (u unfinished) Done() <-chan struct{} { panic(u) }

// Err implements context.Context.
func (u unfinished) Err() error { panic(u) }

// Value implements context.Context.
func (u unfinished) Value(any) any { panic(u) }
