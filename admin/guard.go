package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard is around everything: it refuses requests from whom they should not come.
func (s *Server) guard(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		switch {
		case isProbePath(r.URL.Path): // checks may name no host
			h.Set("Connection", "close")
			next.ServeHTTP(w, r)
		case !s.allowsHost(r):
			refuse(w, http.StatusMisdirectedRequest, "this host name is not in admin.hosts")
		case isForeign(r):
			refuse(w, http.StatusForbidden, "this request is from a page of another site")
		case s.allowsToken(w, r):
			next.ServeHTTP(w, r)
		}
	})
}

// refuse is fail for a client that has not shown that it may be here. Its connection ends: it must
// not keep others out.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Connection", "close")
	fail(w, status, text)
}

// isForeign reports whether a page of another site makes a browser send the request. A link to the
// page itself is none.
func isForeign(r *http.Request) bool {
	from := r.Header.Get("Sec-Fetch-Site")
	return r.URL.Path != "/" && (from == "cross-site" || from == "same-site")
}

// isProbePath reports whether anybody may ask for path, under any host name.
func isProbePath(path string) bool { return path == "/healthz" || path == "/readyz" }

// allowsHost reports whether the request means this host: an IP address, localhost or one of
// Config.Hosts. Without this check, a page on the internet whose name leads to this address could
// read everything.
func (s *Server) allowsHost(r *http.Request) bool {
	if isUnix(r.Context()) {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(append([]string{"localhost"}, s.Config.Hosts...), func(known string) bool {
		return strings.EqualFold(host, known)
	})
}

// allowsToken reports whether the request has the token, or needs none. Otherwise it answers: at
// / with the page, which asks for the token.
func (s *Server) allowsToken(w http.ResponseWriter, r *http.Request) bool {
	want, err := s.Config.token()
	switch {
	case err != nil:
		s.log().Warn("admin: no token", "err", err)
		fail(w, http.StatusServiceUnavailable, "the token cannot be read; the log says why")
		return false
	case want == "" && isLocal(r.Context()):
		return true
	case want == "":
		refuse(w, http.StatusForbidden, "admin.token must be set for requests from other machines")
		return false
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ok && equal(got, want) {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="wireline"`)
	w.Header().Set("Connection", "close")
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		writePage(w, http.StatusUnauthorized)
		return false
	}
	fail(w, http.StatusUnauthorized, "the token is missing or wrong")
	return false
}

// equal compares in a time that depends neither on the bytes nor on the lengths.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// localAddr returns the address of this side of the request's connection; nil if it is not known.
func localAddr(ctx context.Context) net.Addr {
	a, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return a
}

func isUnix(ctx context.Context) bool {
	a := localAddr(ctx)
	return a != nil && a.Network() == "unix"
}

// isLocal reports whether the request has come over a unix socket or loopback.
func isLocal(ctx context.Context) bool {
	if isUnix(ctx) {
		return true
	}
	a, ok := localAddr(ctx).(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}
