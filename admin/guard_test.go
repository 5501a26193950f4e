package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wireline/admin"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// A token is needed wherever one is set, for everything but the probes.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for name, cfg := range map[string]admin.Config{
		"token":      {Token: "s3cret"},
		"token file": {TokenFile: file},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			h := newHouse(t, func(s *admin.Server) { s.Config = cfg })
			for _, wrong := range []string{"", "Bearer ", "Bearer s3cre", "Bearer s3crets", "bearer s3cret", "Basic s3cret", "s3cret", "Bearer  s3cret"} {
				for _, path := range []string{"/metrics", "/api/services", "/api/connections", "/debug/pprof/", "/nothing"} {
					status, body := h.do("GET", path, "", "Authorization", wrong)
					if status != http.StatusUnauthorized || strings.Contains(body, "relay") {
						t.Errorf("GET %s with %q: %d %s", path, wrong, status, body)
					}
				}
				if status, _ := h.do("DELETE", "/api/connections?service=echo", "", "Authorization", wrong); status != http.StatusUnauthorized {
					t.Errorf("DELETE with %q: %d", wrong, status)
				}
			}
			if status, _ := h.do("GET", "/api/services", "", "Authorization", "Bearer s3cret"); status != http.StatusOK {
				t.Errorf("with the token: %d", status)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				if status, _ := h.do("GET", path, ""); status != http.StatusOK {
					t.Errorf("GET %s: %d", path, status)
				}
			}
			status, body := h.do("GET", "/", "")
			if status != http.StatusUnauthorized || !strings.Contains(body, "<!doctype html>") {
				t.Errorf("the page without the token: %d %.40s", status, body)
			}
			if cfg.TokenFile == "" {
				return
			}
			if err := os.WriteFile(file, []byte("other"), 0o600); err != nil {
				t.Fatal(err)
			}
			if status, _ := h.do("GET", "/api/services", "", "Authorization", "Bearer other"); status != http.StatusOK {
				t.Errorf("with the new token: %d", status)
			}
			for _, bad := range []string{"", "two words", strings.Repeat("x", 5000)} {
				if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
					t.Fatal(err)
				}
				if status, _ := h.do("GET", "/api/services", "", "Authorization", "Bearer "+bad); status != http.StatusServiceUnavailable {
					t.Errorf("with the token file %.10q: %d", bad, status)
				}
			}
		})
	}
}

// at is the context of a request that has come to the address local.
func at(ctx context.Context, local net.Addr) context.Context {
	return context.WithValue(ctx, http.LocalAddrContextKey, local)
}

// overLoopback is the context of a request that has come over loopback.
func overLoopback(ctx context.Context) context.Context {
	return at(ctx, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9000})
}

// from makes a request as if it had come to the address local.
func from(s *admin.Server, local net.Addr, host string) int {
	r := httptest.NewRequest("GET", "/api/services", nil)
	r.Host = host
	if local != nil {
		r = r.WithContext(at(r.Context(), local))
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

// Without a token, only loopback and unix sockets are answered. A name that is not known is not
// answered, wherever it comes from.
func TestLocalAndHosts(t *testing.T) {
	s := &admin.Server{Config: admin.Config{Hosts: []string{"Admin.example"}}}
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9000}
	for _, test := range []struct {
		local net.Addr
		host  string
		want  int
	}{
		{loopback, "127.0.0.1:9000", 200},
		{&net.TCPAddr{IP: net.IPv6loopback}, "[::1]:9000", 200},
		{&net.TCPAddr{IP: net.IPv6loopback}, "::1", 200},
		{loopback, "localhost:9000", 200},
		{loopback, "LOCALHOST", 200},
		{loopback, "admin.example:9000", 200},
		{loopback, "evil.example", 421},
		{loopback, "127.0.0.1.evil.example", 421},
		{loopback, "localhost.evil.example:9000", 421},
		{loopback, "", 421},
		{&net.UnixAddr{Net: "unix", Name: "/x"}, "anything", 200},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, "10.0.0.1", 403},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, "evil.example", 421},
		{nil, "127.0.0.1", 403},
	} {
		if got := from(s, test.local, test.host); got != test.want {
			t.Errorf("Host %q at %v: %d, want %d", test.host, test.local, got, test.want)
		}
	}
}

// A check that names no host, or one that is not known, is answered.
func TestProbesNeedNoHost(t *testing.T) {
	s := &admin.Server{Config: admin.Config{Token: "s3cret"}}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 421} {
		for _, host := range []string{"", "balancer.example"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("GET %s with the Host %q: %d, want %d", path, host, w.Code, want)
			}
		}
	}
}

// A client without a token cannot keep a connection, and so cannot keep others out.
func TestStrangersKeepNoConnection(t *testing.T) {
	h := newHouse(t, func(s *admin.Server) { s.Config.Token = "s3cret" })
	for _, test := range []struct {
		path, token, host string
		status            int
		closes            bool
	}{
		{"/healthz", "", "", 200, true},
		{"/readyz", "", "", 200, true},
		{"/", "", "", 401, true},
		{"/metrics", "", "", 401, true},
		{"/metrics", "s3cret", "evil.example", 421, true},
		{"/metrics", "s3cret", "", 200, false},
	} {
		r, err := http.NewRequest("GET", h.http.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = test.host
		r.Header.Set("Authorization", "Bearer "+test.token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.status || resp.Close != test.closes {
			t.Errorf("%v: status %d, close %v", test, resp.StatusCode, resp.Close)
		}
	}
}

// A page of another site reads nothing. It may have a link to the page.
func TestCrossOriginReads(t *testing.T) {
	h := newHouse(t)
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/readyz": 200, "/metrics": 403, "/api/connections": 403, "/debug/pprof/": 403} {
		for _, site := range []string{"cross-site", "same-site"} {
			if status, body := h.do("GET", path, "", "Sec-Fetch-Site", site); status != want {
				t.Errorf("GET %s %s: %d %.40s", path, site, status, body)
			}
		}
		for _, site := range []string{"same-origin", "none"} {
			if status, body := h.do("GET", path, "", "Sec-Fetch-Site", site); status != http.StatusOK {
				t.Errorf("GET %s %s: %d %.40s", path, site, status, body)
			}
		}
	}
}

// A page of another site can change nothing.
func TestCrossOrigin(t *testing.T) {
	h := newHouse(t)
	c := h.connect(h.echo)
	c.say(t, "a")
	for _, header := range [][]string{
		{"Origin", "http://evil.example"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "null"},
	} {
		status, body := h.do("DELETE", "/api/connections/echo/1", "", header...)
		if status != http.StatusForbidden {
			t.Errorf("%v: %d %s", header, status, body)
		}
	}
	c.say(t, "still there")
	if status, _ := h.do("DELETE", "/api/connections/echo/1", "", "Sec-Fetch-Site", "same-origin"); status != http.StatusOK {
		t.Errorf("from the page itself: %d", status)
	}
}

// Every answer forbids what it does not need.
func TestHeaders(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/", "/metrics", "/api/services", "/nothing"} {
		resp, err := http.Get(h.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s has the policy %q", path, policy)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" ||
			resp.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s has the headers %v", path, resp.Header)
		}
	}
}

// wrongRequest is a request that must change nothing.
type wrongRequest struct {
	method, path, body string
	header             [2]string
}

// wrongRequests makes different ones, for as long as they are asked for.
func wrongRequests(random *rand.Rand) iter.Seq[wrongRequest] {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	long := func(most int) string { return strings.Repeat(pick("a", "%41", "."), random.IntN(most)) }
	digits := func() string { return strconv.FormatUint(random.Uint64()>>random.IntN(64), 10) }
	one := func() (r wrongRequest) {
		r.method = pick("GET", "PUT", "POST", "PATCH", "DELETE", "DELETE", "OPTIONS", "HEAD", "TRACE", "get", "FOO")
		r.path = pick("/", "//", "/metrics", "/api/services", "/api/connections", "/api/connections/echo/1", "/api/connections/relay/1", "/api/connections/echo/"+digits(),
			"/api/connections/echo/-"+digits(), "/api/connections/"+long(50)+"/1", "/api/connections/../..", "/api/connections/%2e%2e/1", "/api/upstreams/relay/x", "/api/upstreams/echo/"+digits(),
			"/api/log", "/api/log/", "/api/reload", "/api/config", "/api/ends/", "/api/%00", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/"+long(20), "/"+long(2000))
		if random.IntN(2) == 0 {
			r.method = fitting(r.path)
		}
		r.path += pick("", "?limit=-"+digits(), "?limit=1e9", "?sort=;", "?sort="+long(20)+"x", "?mode=explode", "?peer=%ff", "?peer="+digits(), "?older=forever", "?older=-"+digits()+"s", "?idle="+digits(),
			"?seconds=1000"+digits(), "?debug=9", "?x="+digits(), "?%zz", "?service=", "?service=echo&service=relay", "?service=echo;", "?service=echo&text=e", "?"+long(200))
		r.body = pick("", "{", "[]", "null", `"up"`, digits(), `{"level":"loud"}`, `{"level":7e99}`, `{"level":"debug"} {}`, `{"level":"debug","x":1}`, `{"state":"sideways"}`,
			`{"weight":`+digits()+`}`, strings.Repeat("[", random.IntN(10000)), strings.Repeat("x", 64<<10+random.IntN(9)), "\x00\xff")
		r.header = [2]string{pick("X-A", "Accept", "Content-Type", "Content-Encoding", "Sec-Fetch-Site", "Origin", "Range", "If-None-Match", "Accept-Encoding", "Authorization", "Host", "X-HTTP-Method-Override"),
			pick("", "*/*", "bytes=0-1", "gzip", "evil", "cross-site", "http://evil.example", "DELETE", "Bearer "+digits(), strings.Repeat("v", random.IntN(3000)))}
		return r
	}
	return func(yield func(wrongRequest) bool) {
		seen := make(map[wrongRequest]bool)
		for {
			r := one()
			if seen[r] || r.mayBeRight() {
				continue
			}
			seen[r] = true
			if !yield(r) {
				return
			}
		}
	}
}

// fitting returns a method that would be right for a path.
func fitting(path string) string {
	switch {
	case strings.HasPrefix(path, "/api/connections"):
		return "DELETE"
	case strings.HasPrefix(path, "/api/upstreams/"), path == "/api/log":
		return "PUT"
	}
	return "GET"
}

// mayBeRight reports whether r is one of the few that may change something.
func (r wrongRequest) mayBeRight() bool {
	path, query, _ := strings.Cut(r.path, "?")
	service, id, _ := strings.Cut(strings.TrimPrefix(path, "/api/connections/"), "/")
	switch {
	case r.method == "POST":
		return path == "/api/reload"
	case r.method == "DELETE" && (service == "echo" || service == "relay"):
		n, err := strconv.Atoi(id)
		return err == nil && n >= 0 && n < 10 && !slices.Contains([]string{"mode=explode", "%zz", "sort=;", "service=echo;"}, query)
	}
	return false
}

// state is what no wrong request changes.
func (h *house) state() string {
	h.t.Helper()
	var b strings.Builder
	for _, x := range h.list("/api/services", "services") {
		fmt.Fprintln(&b, x)
	}
	for _, u := range h.list("/api/upstreams", "upstreams") {
		fmt.Fprintln(&b, u)
	}
	for _, c := range h.list("/api/connections", "connections") {
		fmt.Fprintln(&b, c["service"], c["id"], c["peer"], c["state"], c["bytes_in"], c["bytes_out"])
	}
	fmt.Fprintln(&b, h.list("/api/ends", "ends"), h.get("/api/log"))
	return b.String()
}

// A thousand wrong requests change nothing, and each is answered.
func TestWrongRequests(t *testing.T) {
	reloads := 0
	h := newHouse(t, func(s *admin.Server) {
		s.Level = new(slog.LevelVar)
		s.Reload = func(context.Context) (admin.ReloadResult, error) { reloads++; return admin.ReloadResult{}, nil }
	})
	c, p := h.connect(h.echo), h.connect(h.proxy)
	c.say(t, "a")
	p.say(t, "b")
	before := h.state()
	answers, refused := make(map[int]int), 0
	for r := range wrongRequests(rand.New(rand.NewPCG(1, 2))) {
		status, body := h.do(r.method, r.path, r.body, r.header[:]...)
		if status >= 500 && status != http.StatusNotImplemented {
			t.Errorf("%s %.200s with %.20q and %.100q: %d %s", r.method, r.path, r.body, r.header, status, body)
		}
		answers[status]++
		if status >= 400 {
			refused++
		}
		if refused == 1000 {
			break
		}
	}
	t.Logf("the answers: %v", answers)
	if reloads > 0 {
		t.Errorf("%d reloads", reloads)
	}
	if after := h.state(); after != before {
		t.Errorf("before\n%s\nand after\n%s", before, after)
	}
	c.say(t, "still there")
	p.say(t, "still there")
}

// What is no HTTP, or not quite, changes nothing either.
func TestBrokenRequests(t *testing.T) {
	h := newHouse(t, func(s *admin.Server) { s.Level = new(slog.LevelVar) })
	c := h.connect(h.echo)
	c.say(t, "a")
	h.admin.Config.Address = "127.0.0.1:0"
	addr, stop := serveAdmin(t, h.admin)
	before := h.state()
	random := rand.New(rand.NewPCG(3, 4))
	texts := []string{
		"", "\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /metrics\r\n\r\n", "DELETE /api/connections?service=echo\r\n\r\n",
		"DELETE /api/connections?service=echo HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
		"DELETE /api/connections?service=echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
		"DELETE /api/connections?service=echo HTTP/1.1\r\n Host: localhost\r\n\r\n",
		"PUT /api/log HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\"level\":\"debug\"}\r\n0\r\n\r\n",
		"PUT /api/log HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{\"level\":\"debug\"",
		"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	}
	for range 200 {
		text := []byte("GET /api/connections?service=echo&limit=5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		for range 1 + random.IntN(5) {
			text[random.IntN(len(text))] = byte(random.IntN(256))
		}
		texts = append(texts, string(text))
	}
	for _, text := range texts {
		conn := testutil.Dial(t, "tcp", addr.String())
		io.WriteString(conn, text) // it may be refused before it is whole
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	if after := h.state(); after != before {
		t.Errorf("before\n%s\nand after\n%s", before, after)
	}
	c.say(t, "still there")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// serveAdmin runs ListenAndServe, and returns what it has logged that it listens on.
func serveAdmin(t *testing.T, s *admin.Server) (addr net.Addr, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := s.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(cancel)
	return ln.Addr(), func() error {
		cancel()
		return testutil.Await(t, "the end of Serve", done)
	}
}

// A unix socket is for the user of the process alone, and needs no token.
func TestUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no unix sockets in tests on Windows")
	}
	path := testutil.SocketPath(t)
	_, stop := serveAdmin(t, &admin.Server{Config: admin.Config{Address: "unix:" + path}})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	resp, err := client.Get("http://wireline/api/services")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
}

// A client that sends nothing, or half a request, or never reads its answer, holds nothing up:
// neither other requests nor clients of the services, nor the end of the server.
func TestSlowClients(t *testing.T) {
	h := newHouse(t)
	h.admin.Config.Address = "127.0.0.1:0"
	addr, stop := serveAdmin(t, h.admin)
	c := h.connect(h.echo)
	c.say(t, "a")
	// More pages than the buffers of a connection hold.
	unread := strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 500)
	for i := range 60 {
		conn := testutil.Dial(t, "tcp", addr.String())
		switch i % 4 {
		case 1:
			io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: ")
		case 2:
			io.WriteString(conn, strings.Repeat("GET /api/connections HTTP/1.1\r\nHost: localhost\r\n\r\n", 20))
		case 3:
			io.WriteString(conn, unread)
		}
	}
	client := &http.Client{Timeout: testutil.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 10 {
		resp, err := client.Get(fmt.Sprintf("http://%s/healthz", addr))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for range 100 {
		c.say(t, "served")
	}
	r, _ := http.NewRequest("DELETE", fmt.Sprintf("http://%s/api/connections/echo/1", addr), nil)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("the client that is ended sees %q, %v; want a FIN", rest, err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
}

func TestListenErrors(t *testing.T) {
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0")
	for name, cfg := range map[string]admin.Config{
		"taken":                 {Address: taken.Addr().String()},
		"no token":              {Address: "0.0.0.0:0"},
		"no token, by name":     {Address: "example.com:80"},
		"every interface":       {Address: ":0"},
		"no port":               {Address: "127.0.0.1"},
		"two tokens":            {Address: "127.0.0.1:0", Token: "a", TokenFile: "b"},
		"token with a space":    {Address: "127.0.0.1:0", Token: "a b"},
		"token file is missing": {Address: "127.0.0.1:0", TokenFile: "missing"},
		"key without a cert":    {Address: "127.0.0.1:0", TLS: admin.TLS{Key: "key.pem"}},
		"cert is missing":       {Address: "127.0.0.1:0", TLS: admin.TLS{Cert: "missing", Key: "missing"}},
		"host with a port":      {Address: "127.0.0.1:0", Hosts: []string{"a:80"}},
		"unix without a path":   {Address: "unix:"},
		"abstract unix socket":  {Address: "unix:@wireline"},
		"no folder":             {Address: "unix:missing/socket"},
	} {
		s := &admin.Server{Config: cfg}
		err := s.ListenAndServe(t.Context())
		if start := (*tcp.StartError)(nil); !errors.As(err, &start) {
			t.Errorf("%s: %v", name, err)
		}
		if err := cfg.Check(t.Context()); (err == nil) != (name == "taken") {
			t.Errorf("%s: Check: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "a b") {
			t.Errorf("%s: the error has the token: %v", name, err)
		}
	}
	if err := new(admin.Server).ListenAndServe(t.Context()); err != nil {
		t.Errorf("without an address: %v", err)
	}
}
