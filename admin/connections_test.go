package admin_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"wireline/admin"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
)

// awaitConnections waits until a path lists n connections, and returns them.
func (h *house) awaitConnections(path string, n int) (list []map[string]any) {
	h.t.Helper()
	testutil.Eventually(h.t, "connections", func() bool {
		list = h.list(path, "connections")
		return len(list) == n
	})
	return list
}

func TestConnections(t *testing.T) {
	h := newHouse(t)
	c := h.connect(h.echo)
	c.say(t, "12345")
	p := h.connect(h.proxy)
	p.say(t, "abc")
	list := h.awaitConnections("/api/connections?service=echo&sort=-out", 2)
	if peer := c.LocalAddr().String(); list[0]["peer"] != peer || list[0]["bytes_in"] != 6.0 || list[0]["bytes_out"] != 6.0 ||
		list[0]["frames_in"] != 1.0 || list[0]["state"] != "idle" || list[0]["service"] != "echo" {
		t.Errorf("the client %s is listed as %v", peer, list[0])
	}
	if list[1]["bytes_out"] != 4.0 {
		t.Errorf("sort=-out lists second %v", list[1])
	}
	relay := h.awaitConnections("/api/connections?upstream="+h.echo.Addr, 1)[0]
	if relay["service"] != "relay" || relay["state"] != "relaying" || relay["bytes_in"] != 4.0 || relay["peer"] != p.LocalAddr().String() {
		t.Errorf("the pair is listed as %v", relay)
	}
	for path, want := range map[string]int{
		"/api/connections":                                 3,
		"/api/connections?limit=1":                         1,
		"/api/connections?peer=127.0.0.1":                  3,
		"/api/connections?peer=127.0.0.0/8":                3,
		"/api/connections?peer=10.0.0.0/8":                 0,
		"/api/connections?peer=::ffff:127.0.0.0/104":       3,
		"/api/connections?peer=::ffff:127.0.0.1":           3,
		"/api/connections?older=1h":                        0,
		"/api/connections?idle=1h":                         0,
		"/api/connections?older=0s&service=relay":          1,
		"/api/connections?service=no":                      0,
		"/api/connections?state=relaying&peer=127.0.0.0/8": 1,
	} {
		if got := len(h.list(path, "connections")); got != want {
			t.Errorf("%s lists %d connections, want %d", path, got, want)
		}
	}
	v := h.get("/api/connections?service=relay&limit=0")
	if v["total"] != 3.0 || v["matched"] != 1.0 {
		t.Errorf("total and matched are %v and %v", v["total"], v["matched"])
	}
	if list[0]["rate"] == nil {
		t.Error("a young connection has no rate")
	}
}

// One connection is ended, and the others go on.
func TestEndConnection(t *testing.T) {
	h := newHouse(t)
	c, other := h.connect(h.echo), h.connect(h.echo)
	c.say(t, "a")
	other.say(t, "b")
	for _, bad := range []string{"/api/connections/echo/77", "/api/connections/no/1", "/api/connections/echo/18446744073709551615"} {
		if status, body := h.do("DELETE", bad, ""); status != http.StatusNotFound {
			t.Errorf("DELETE %s: %d %s", bad, status, body)
		}
	}
	for _, bad := range []string{"/api/connections/echo/x", "/api/connections/echo/-1", "/api/connections/echo/1?mode=soft", "/api/connections/echo/1?mode=reset%"} {
		if status, body := h.do("DELETE", bad, ""); status != http.StatusBadRequest {
			t.Errorf("DELETE %s: %d %s", bad, status, body)
		}
	}
	if status, body := h.do("DELETE", "/api/connections/echo/1", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("the client sees %q, %v; want a FIN", rest, err)
	}
	other.say(t, "still there")
	c.Close()
	testutil.Eventually(t, "its record", func() bool { return len(h.list("/api/ends", "ends")) == 1 })
	end := h.list("/api/ends", "ends")[0]
	if end["id"] != 1.0 || end["by"] != "server" || end["reason"] != "kicked" || end["bytes_in"] != 2.0 {
		t.Errorf("the record is %v", end)
	}
}

// All connections that match are ended; without a filter none is.
func TestEndConnections(t *testing.T) {
	h := newHouse(t)
	var echoes, relays []*client
	for range 10 {
		e, r := h.connect(h.echo), h.connect(h.proxy)
		e.say(t, "e")
		r.say(t, "r")
		echoes, relays = append(echoes, e), append(relays, r)
	}
	for _, bad := range []string{"", "?mode=reset", "?servise=relay", "?service=relay&service=echo", "?peer=nonsense", "?idle=-1s", "?older=x", "?service=relay&mode=x",
		"?service=relay&peer=10.9.9.9%2", "?service=relay&idle=1h;", "?service=relay&peer=", "?service=", "?state=paused&service=", "?state=asleep", "?service=relay&upstream"} {
		if status, body := h.do("DELETE", "/api/connections"+bad, ""); status != http.StatusBadRequest {
			t.Errorf("DELETE %q: %d %s", bad, status, body)
		}
	}
	if status, body := h.do("DELETE", "/api/connections?service=relay&peer=127.0.0.0/8&mode=reset", ""); status != http.StatusOK || body != "{\"ended\":10}\n" {
		t.Fatalf("%d %s", status, body)
	}
	for _, r := range relays {
		if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("a relayed client sees %v, want a reset", err)
		}
	}
	for _, e := range echoes {
		e.say(t, "still there")
	}
	h.awaitConnections("/api/connections?service=relay", 0)
}

func TestServicesAndUpstreams(t *testing.T) {
	h := newHouse(t)
	h.connect(h.proxy).say(t, "abc")
	services := h.list("/api/services", "services")
	if len(services) != 2 || services[0]["name"] != "echo" || services[1]["name"] != "relay" {
		t.Fatalf("the services are %v", services)
	}
	relay := services[1]
	if relay["ready"] != true || relay["connections"] != 1.0 || relay["accepted"] != 1.0 || relay["bytes_in"] != 4.0 ||
		relay["addresses"].([]any)[0] != h.proxy.Addr {
		t.Errorf("the relay is %v", relay)
	}
	up := h.list("/api/upstreams", "upstreams")
	if len(up) != 1 || up[0]["service"] != "relay" || up[0]["name"] != h.echo.Addr || up[0]["up"] != true ||
		up[0]["connections"] != 1.0 || up[0]["connects"] != 1.0 || up[0]["failures"] != 0.0 {
		t.Errorf("the upstreams are %v", up)
	}
}

// The names of services differ, whatever they are called, and are text.
func TestServiceNames(t *testing.T) {
	h := newHouse(t, func(s *admin.Server) {
		s.Servers = nil
		for _, name := range []string{"a-2", "a", "a", "", "default", "default-2", "b\xff", "b?", "\xff"} {
			s.Servers = append(s.Servers, &tcp.Server{Name: name})
		}
	})
	var names []any
	for _, x := range h.list("/api/services", "services") {
		names = append(names, x["name"])
	}
	if got, want := fmt.Sprint(names), "[a-2 a a-3 default default-2 default-2-2 b? b?-2 ?]"; got != want {
		t.Errorf("the names are %s, want %s", got, want)
	}
}

// connectRefused connects a client to the proxy, which resets it at once, perhaps before it knows
// that it is connected.
func (h *house) connectRefused() {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.proxy.Addr)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
		h.t.Errorf("a new client sees %v, want a reset", err)
	}
}

// Why an upstream is down, and since when.
func TestUpstreamDown(t *testing.T) {
	h := newHouse(t)
	h.echo.Close()
	for range 3 {
		h.connectRefused()
	}
	up := h.list("/api/upstreams", "upstreams")[0]
	if up["up"] != false || up["since"] == nil || up["err"] == nil || up["failures"].(float64) < 3 {
		t.Errorf("the upstream is %v", up)
	}
}

// An upstream is drained, weighted and taken up by requests.
func TestSetUpstream(t *testing.T) {
	h := newHouse(t)
	name := h.echo.Addr
	path := "/api/upstreams/relay/" + url.PathEscape(name)
	p := h.connect(h.proxy)
	p.say(t, "a")
	for _, bad := range []string{``, `{}`, `{"state":"sideways"}`, `{"weight":257}`, `{"weight":-1}`, `{"weight":"x"}`, `{"state":"up","x":1}`, `[]`} {
		if status, body := h.do("PUT", path, bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	for _, missing := range []string{"/api/upstreams/relay/nothing:1", "/api/upstreams/echo/" + name, "/api/upstreams/no/" + name} {
		if status, body := h.do("PUT", missing, `{"state":"drain"}`); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", missing, status, body)
		}
	}
	if status, body := h.do("PUT", path, `{"state":"drain","weight":7}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if up := h.list("/api/upstreams", "upstreams")[0]; up["state"] != "drain" || up["weight"] != 7.0 || up["up"] != true || up["connections"] != 1.0 {
		t.Errorf("the upstream is %v", up)
	}
	p.say(t, "still there")
	h.connectRefused()
	if status, body := h.do("PUT", path, `{"state":"up"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	h.connect(h.proxy).say(t, "b")
}

// A removed upstream is listed and has metrics until its last pair has ended, and cannot be changed.
func TestRemovedUpstream(t *testing.T) {
	h := newHouse(t)
	name := h.echo.Addr
	p := h.connect(h.proxy)
	p.say(t, "a")
	if err := h.proxy.TCP.Handler.(*proxy.Proxy).Reconfigure(proxy.Config{Upstreams: []string{"127.0.0.1:1"}}); err != nil {
		t.Fatal(err)
	}
	all := h.list("/api/upstreams", "upstreams")
	if len(all) != 2 || all[1]["name"] != name || all[1]["state"] != "removed" || all[1]["connections"] != 1.0 {
		t.Errorf("the upstreams are %v", all)
	}
	for _, body := range []string{`{"state":"up"}`, `{"weight":2}`, `{"state":"removed"}`} {
		if status, answer := h.do("PUT", "/api/upstreams/relay/"+url.PathEscape(name), body); status != http.StatusNotFound || !strings.Contains(answer, "was removed") {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, answer := h.do("PUT", "/api/upstreams/relay/127.0.0.1:1", `{"state":"removed"}`); status != http.StatusBadRequest {
		t.Errorf("setting the state removed: %d %s", status, answer)
	}
	series := func(metric string) (v float64, there bool) {
		v, there = h.scrape()["wireline_upstream_"+metric+`{service="relay",upstream="`+name+`"}`]
		return v, there
	}
	if v, there := series("weight"); v != 0 || !there {
		t.Errorf("the weight in the metrics is %v, %t", v, there)
	}
	if v, _ := series("connections"); v != 1 {
		t.Errorf("%v connections in the metrics", v)
	}
	p.say(t, "still there")
	p.Close()
	testutil.Eventually(t, "the series to end", func() bool { _, there := series("connections"); return !there })
	if all := h.list("/api/upstreams", "upstreams"); len(all) != 1 || all[0]["name"] != "127.0.0.1:1" {
		t.Errorf("at the end the upstreams are %v", all)
	}
}

// A unix socket's path is in the name.
func TestSetUnixUpstream(t *testing.T) {
	server := &tcp.Server{Handler: &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"unix:/run/a b.sock weight=3"}}, Log: slog.New(slog.DiscardHandler)}}
	h := newHouse(t, func(s *admin.Server) { s.Servers = []*tcp.Server{server} })
	if status, body := h.do("PUT", "/api/upstreams/default/unix:%2Frun%2Fa%20b.sock", `{"weight":0}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if up := h.list("/api/upstreams", "upstreams")[0]; up["name"] != "unix:/run/a b.sock" || up["weight"] != 0.0 {
		t.Errorf("the upstream is %v", up)
	}
}

// staged is a handler that shows connections which are not there.
type staged struct {
	opaque
	list []handler.Live
}

func (s staged) Live() iter.Seq[handler.Live] { return slices.Values(s.list) }
func (s staged) Totals() handler.Totals       { return handler.Totals{Opened: uint64(len(s.list))} }
func (s staged) Last() []handler.Record       { return nil }

// stage returns a house with a service of that name that shows these connections.
func stage(t *testing.T, name string, list []handler.Live) *house {
	return newHouse(t, func(s *admin.Server) {
		s.Servers = []*tcp.Server{{Name: name, Handler: staged{list: list}}}
	})
}

// The filter finds any connection, by whatever the page shows of it.
func TestTextOfConnections(t *testing.T) {
	const open = 15_000
	var list []handler.Live
	for i := range open {
		r := handler.Record{ID: uint64(i + 1), Peer: &net.TCPAddr{IP: net.IPv4(10, 1, byte(i>>8), byte(i)), Port: 4000}, Upstream: "Backend:1"}
		r.Attrs = []slog.Attr{slog.String("device", fmt.Sprintf("Meter-%d!", i))}
		list = append(list, handler.Live{Record: r, State: handler.StateRelaying})
	}
	list[7].TLS = &handler.TLSInfo{Version: "TLS 1.3", ServerName: "Seven.example", Protocol: "mqtt", Subject: "CN=Device 7"}
	h := stage(t, "Gate", list)
	for text, want := range map[string]int{
		"device=meter-14999!":    1,
		"DEVICE=Meter-1499":      11,
		"10.1.58.151:4000":       1,
		"14999! gate relaying":   1,
		" backend:1  meter-42! ": 1,
		"seven.example mqtt":     1,
		"cn=device 7 tls":        1,
		"nothing":                0,
		"meter-1! meter-2!":      0,
		"":                       open,
	} {
		v := h.get("/api/connections?limit=1&sort=-id&text=" + url.QueryEscape(text))
		if v["matched"] != float64(want) || v["total"] != float64(open) {
			t.Errorf("%q matches %v of %v, want %d", text, v["matched"], v["total"], want)
		}
	}
	if status, body := h.do("DELETE", "/api/connections?text=meter", ""); status != http.StatusBadRequest {
		t.Errorf("DELETE by text: %d %s", status, body)
	}
}

// Addresses are ordered as numbers, and what is no address comes before them.
func TestOrderOfAddresses(t *testing.T) {
	ordered := []string{"/run/b.sock", "unix", "2.0.0.1:9", "10.0.0.2:80", "10.0.0.2:443", "10.0.0.10:5", "[::1]:80", "[fe80::2%lo]:1", "[fe80::10%lo]:1"}
	var list []handler.Live
	for i, text := range ordered {
		r := handler.Record{ID: uint64(i + 1), Upstream: text}
		if at, err := netip.ParseAddrPort(text); err == nil {
			r.Peer = net.TCPAddrFromAddrPort(at)
			if at.Port() == 443 {
				r.Peer = &net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.2"), Port: 443}
			}
		} else {
			r.Peer = &net.UnixAddr{Net: "unix", Name: text}
		}
		list = append(list, handler.Live{Record: r})
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	h := stage(t, "s", list)
	for _, by := range []string{"peer", "upstream", "-peer", "-upstream"} {
		var got []string
		for _, c := range h.list("/api/connections?sort="+by, "connections") {
			got = append(got, c["upstream"].(string))
		}
		if strings.HasPrefix(by, "-") {
			slices.Reverse(got)
		}
		if !slices.Equal(got, ordered) {
			t.Errorf("sort=%s: %q, want %q", by, got, ordered)
		}
	}
}

// A request that ends a connection is answered at once, and the connection ends at once, also while a
// goroutine connects the upstream, here with a TLS handshake that nobody answers.
func TestKickWhileConnecting(t *testing.T) {
	silent := testutil.Listen(t, "tcp", "127.0.0.1:0")
	relay := start(t, "relay", &proxy.Proxy{
		Config:    proxy.Config{Upstreams: []string{silent.Addr().String()}, ConnectTimeout: time.Hour},
		TLSConfig: &tls.Config{InsecureSkipVerify: true},
		Log:       slog.New(slog.DiscardHandler),
	})
	h := newHouse(t, func(s *admin.Server) { s.Servers = []*tcp.Server{relay.TCP} })
	for id, mode := range []string{"close", "reset"} {
		h.connect(relay)
		h.awaitConnections("/api/connections?state=connecting", 1)
		answered := make(chan int)
		go func() {
			status, _ := h.do("DELETE", fmt.Sprintf("/api/connections/relay/%d?mode=%s", id+1, mode), "")
			answered <- status
		}()
		if status := testutil.Await(t, "the answer", answered); status != http.StatusOK {
			t.Errorf("%s: %d", mode, status)
		}
		h.awaitConnections("/api/connections", 0)
	}
}
