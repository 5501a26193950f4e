package admin

import (
	"context"
	"net/http"
	"time"
)

// Bounds of the requests that make a list of all connections.
const (
	maxListings = 4                // at the same time; more wait
	turnTimeout = 10 * time.Second // for how long they do
)

// inTurn calls look when fewer than maxListings others run. It reports false, without having called
// it, if that takes too long or the client of r has gone. look must not write an answer: a client
// that does not read it would hold up the others.
func (s *Server) inTurn(r *http.Request, look func()) bool {
	ctx, cancel := context.WithTimeout(r.Context(), turnTimeout)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
		look()
		return true
	case <-ctx.Done():
		return false
	}
}

// busy answers a request whose turn has not come.
func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	fail(w, http.StatusServiceUnavailable, "too many other requests list the connections")
}
