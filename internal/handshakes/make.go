package handshakes

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"go.uber.org/atomic"
)

const (
	// maxHung is how many handshakes may hang before no further one is begun.
	maxHung = 1000

	// hungAfter is how long after the end of its context a handshake hangs that is not over.
	hungAfter = time.Second
)

// ErrHung is why a handshake was not begun: too many hang in a function of the tls.Config.
var ErrHung = errors.New("too many TLS handshakes hang in a function of the tls.Config")

// Handshake is what Make needs to make one.
type Handshake struct {
	Conn *tls.Conn

	// Abandoned is called, in a goroutine of its own, if the handshake is not over when its
	// context ends. The connection is Abandoned's then.
	Abandoned func()

	// Panicked is called by a deferred function if a function of the tls.Config has panicked
	// with v, or has called runtime.Goexit: then v is nil. The connection is Panicked's, unless
	// the handshake was abandoned.
	Panicked func(v any, abandoned bool)
}

// Make makes a handshake, in the calling goroutine, and returns its error. If mine is false,
// Abandoned or Panicked was called instead.
//
// At the end of ctx crypto/tls closes the connection, and Make returns soon after. But a function
// of the tls.Config may go on: it keeps this goroutine until it returns. There are at most 1000
// of those; while there are, Make returns ErrHung.
func (h *Limiter) Make(ctx context.Context, one Handshake) (err error, mine bool) {
	if h.hung.Load() >= maxHung {
		return ErrHung, true
	}
	m := &making{Handshake: one, all: h}
	unwatch := context.AfterFunc(ctx, m.abandon)
	returned := false
	defer func() {
		m.end()
		if mine = unwatch(); !returned {
			one.Panicked(recover(), !mine)
			mine = false
		}
	}()
	err = one.Conn.HandshakeContext(ctx)
	returned = true
	return err, false // the deferred function sets mine
}

// making is a handshake that is being made.
type making struct {
	Handshake
	all   *Limiter
	state atomic.Int32
}

const (
	hangs = 1 + iota // counted in Limiter.hung
	over
)

func (m *making) abandon() {
	time.AfterFunc(hungAfter, m.hang)
	m.Abandoned()
}

// hang counts the handshake if it is not over.
func (m *making) hang() {
	if m.state.CompareAndSwap(0, hangs) {
		m.all.hung.Add(1)
	}
}

func (m *making) end() {
	if m.state.Swap(over) == hangs {
		m.all.hung.Add(-1)
	}
}
