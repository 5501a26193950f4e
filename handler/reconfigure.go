package handler

import (
	"errors"
	"sync"
	stdatomic "sync/atomic"

	"wireline/internal/eventloop"
	"wireline/internal/handshakes"
	"wireline/lib/sync/wait"
)

// common is what a Frames keeps when it is reconfigured. A Frames and those that its Reconfigure
// has got are its generations: each client points to the one that it was accepted by, and all
// generations point to the same common, that in the first one.
type common struct {
	clients    Clients
	delayed    delayedFlush
	loops      eventloop.Lazy
	handshakes handshakes.Limiter
	background wait.Wait // counts portable pollers, handshakes and functions of Go

	changing sync.Mutex                // orders calls of Reconfigure
	current  stdatomic.Pointer[Frames] // the generation for the next client
}

var (
	errNoFrames   = errors.New("handler: Reconfigure needs a Frames")
	errUsedFrames = errors.New("handler: Reconfigure needs a Frames that was never used")
	errGeneration = errors.New("handler: this Frames was passed to the Reconfigure of another one")
)

// Reconfigure makes next the settings of h for the clients that come from now on: its functions,
// codec, timeouts and limits replace those of h. Clients that are connected keep what they have,
// for as long as they live, as does SetTimeouts of such a client. MaxHandshakes is one limit for
// all of them, and changes at once.
//
// h goes on as the handler of the server. Its methods such as Clients and Totals include the clients
// from before and after, also if they are called on next, and a drain ends all clients. OnRecord of h
// stays; that of next is not called.
//
// next must be new, and must not be used for anything else, nor changed afterwards. The error is
// that of next.Validate, or says that next, or h, was misused so; then nothing has changed.
//
// Reconfigure may be called from any goroutine, before the first connection, and as often as
// needed: the last call counts, and what no client has any more is not kept. It does not wait.
// After Shutdown it still checks next, but no client comes any more.
func (h *Frames) Reconfigure(next *Frames) error {
	if next == nil {
		return errNoFrames
	}
	h.once.Do(h.init)
	if h.common != &h.own {
		return errGeneration
	}
	if next == h {
		return errUsedFrames
	}
	if err := next.Validate(); err != nil {
		return err
	}
	h.changing.Lock()
	defer h.changing.Unlock()
	isNew := false
	next.once.Do(func() {
		isNew = true
		next.prepare(h.common)
	})
	if !isNew {
		return errUsedFrames
	}
	h.handshakes.SetLimit(next.MaxHandshakes)
	h.current.Store(next)
	return nil
}
