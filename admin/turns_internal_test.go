package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// listing is a request for the connections, over a unix socket.
func listing(ctx context.Context, s *Server, w http.ResponseWriter, method, query string) {
	local := unixAddr{}
	s.ServeHTTP(w, httptest.NewRequest(method, "/api/connections"+query, nil).WithContext(context.WithValue(ctx, http.LocalAddrContextKey, local)))
}

type unixAddr struct{}

func (unixAddr) Network() string { return "unix" }
func (unixAddr) String() string  { return "" }

// Some requests at a time look at all connections. Others wait, until they are answered with a
// 503 or their client goes.
func TestListingsTakeTurns(t *testing.T) {
	for _, test := range []struct{ method, query string }{{"GET", ""}, {"DELETE", "?service=x"}} {
		t.Run(test.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{Log: slog.New(slog.DiscardHandler)}
				s.init()
				for range maxListings {
					s.turns <- struct{}{}
				}
				ask := func(ctx context.Context) (*httptest.ResponseRecorder, chan struct{}) {
					w, done := httptest.NewRecorder(), make(chan struct{})
					go func() {
						defer close(done)
						listing(ctx, s, w, test.method, test.query)
					}()
					return w, done
				}
				began := time.Now()
				gone, leave := context.WithCancel(t.Context())
				_, left := ask(gone)
				patient, late := ask(t.Context())
				time.Sleep(turnTimeout / 2)
				lucky, served := ask(t.Context())
				leave()
				<-left
				if waited := time.Since(began); waited != turnTimeout/2 {
					t.Errorf("a request whose client has gone waits for %v", waited)
				}
				<-late
				if patient.Code != http.StatusServiceUnavailable || patient.Header().Get("Retry-After") == "" {
					t.Errorf("after %v: %d %v", turnTimeout, patient.Code, patient.Header())
				}
				<-s.turns
				<-served
				if lucky.Code != http.StatusOK {
					t.Errorf("in its turn: %d %s", lucky.Code, lucky.Body)
				}
				if n := len(s.turns); n != maxListings-1 {
					t.Errorf("%d turns are taken, want %d", n, maxListings-1)
				}
			})
		})
	}
}

// unread is the answer to a client that does not read.
type unread struct {
	http.ResponseWriter
	read chan struct{}
}

func (u unread) Write(b []byte) (int, error) {
	<-u.read
	return len(b), nil
}

// A client that does not read its answer has had its turn.
func TestUnreadListingsKeepNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, read := &Server{Log: slog.New(slog.DiscardHandler)}, make(chan struct{})
		for range 2 * maxListings {
			go listing(t.Context(), s, unread{httptest.NewRecorder(), read}, "GET", "")
		}
		synctest.Wait()
		began, w := time.Now(), httptest.NewRecorder()
		listing(t.Context(), s, w, "GET", "")
		if w.Code != http.StatusOK || time.Since(began) > 0 {
			t.Errorf("beside clients that do not read: %d after %v", w.Code, time.Since(began))
		}
		close(read)
	})
}
