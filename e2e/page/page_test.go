package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"wireline/admin"
	"wireline/handler"
	"wireline/hub"
	"wireline/proxy"
	"wireline/tcp"
	"wireline/tcptest"
)

// patience is how long a test waits for what should come soon.
const patience = time.Minute

// hostile is what a client may choose, such as an attribute that a handler makes of its input.
const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>&amp;`

// house is a server, a proxy to it, the admin side of both, and a browser that shows its page.
type house struct {
	t       *testing.T
	device  *tcptest.Server
	relay   *tcptest.Server
	hub     *hub.Hub // of the device server
	admin   *httptest.Server
	browser context.Context

	mu       sync.Mutex
	requests []string // URLs that the browser has asked for
	problems []string // what it has complained about
}

// browserProgram is the name of the browser; the test is skipped if it is not installed.
func browserProgram(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("WIRELINE_TEST_INTEROP") == "required" {
		t.Fatal("chromium is not installed")
	}
	t.Skip("chromium is not installed: the test of the page is skipped")
	return ""
}

// start starts a server with that name, which logs nothing. It is closed at the end of the test.
func start(t *testing.T, name string, h handler.Handler) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(h)
	s.TCP.Name, s.TCP.Log = name, slog.New(slog.DiscardHandler)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// lonelyBus is a bus whose broker is away when awaySince is set.
type lonelyBus struct {
	hub.Bus   // nil: the tests call no other method
	awaySince atomic.Pointer[time.Time]
}

func (b *lonelyBus) Start(hub.Local) error { return nil }

func (b *lonelyBus) Claim(context.Context, string, hub.Second, func()) (hub.Claim, error) {
	return b, nil
}

func (b *lonelyBus) Release() {}

func (b *lonelyBus) Send(context.Context, string, []byte) error { return hub.ErrUnknown }

func (b *lonelyBus) Stats() hub.BusStats {
	if at := b.awaySince.Load(); at != nil {
		return hub.BusStats{Since: *at, Dropped: 7}
	}
	return hub.BusStats{Connected: true, Nodes: 3, RoundTrip: 1500 * time.Microsecond}
}

func newHouse(t *testing.T, token string, more ...*tcp.Server) *house {
	t.Helper()
	program := browserProgram(t)
	h := &house{t: t, hub: &hub.Hub{Name: "fleet", Bus: new(lonelyBus)}}
	quiet := func(handler.Record) {}
	h.device = start(t, "device", &handler.Frames{
		OnFrame: func(c *handler.Client, line []byte) error {
			if name, ok := strings.CutPrefix(string(line), "I am "); ok {
				c.SetAttr(slog.String("device", name))
			}
			if key, ok := strings.CutPrefix(string(line), "join "); ok {
				if err := h.hub.Join(c, key); err != nil {
					return err
				}
			}
			_, err := c.Write(append(line, '\n'))
			return err
		},
		OnRecord: quiet,
	})
	h.relay = start(t, "relay", &proxy.Proxy{
		Config:   proxy.Config{Upstreams: []string{h.device.Addr}},
		Log:      slog.New(slog.DiscardHandler),
		OnRecord: quiet,
	})
	var reloads atomic.Int32
	h.admin = httptest.NewServer(&admin.Server{
		Config:   admin.Config{Token: token},
		Servers:  append([]*tcp.Server{h.device.TCP, h.relay.TCP}, more...),
		Hubs:     []*hub.Hub{h.hub},
		Settings: func() any { return map[string]any{"note": hostile, "reloads": reloads.Load()} },
		Reload: func(context.Context) (admin.ReloadResult, error) {
			if reloads.Add(1) == 2 {
				return admin.ReloadResult{}, errors.New("applied, but this failed: x")
			}
			return admin.ReloadResult{Changed: []string{"tcp.max_clients"}, Kept: []string{"admin.address"}}, nil
		},
		Version: "v1.2.3",
		Log:     slog.New(slog.DiscardHandler),
	})
	t.Cleanup(h.admin.Close)
	h.open(program)
	return h
}

// open starts the browser with the page.
func (h *house) open(program string) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WindowSize(1400, 1000))
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	h.t.Cleanup(cancel)
	browser, cancel := chromedp.NewContext(allocated)
	h.browser = browser
	// The first Run starts the browser, whose life is that of its context.
	if _, err := chromedp.Run(browser, chromedp.Title()); err != nil {
		cancel()
		h.t.Fatal(err)
	}
	requests := chromedp.Events(browser, network.RequestWillBeSent)
	exceptions := chromedp.Events(browser, runtime.ExceptionThrown)
	entries := chromedp.Events(browser, log.EntryAdded)
	var watching sync.WaitGroup
	watching.Go(func() {
		for e, err := range requests {
			if err == nil {
				h.note(&h.requests, e.Request.URL)
			}
		}
	})
	watching.Go(func() {
		for e, err := range exceptions {
			if err == nil {
				h.note(&h.problems, fmt.Sprintf("%+v", e.ExceptionDetails))
			}
		}
	})
	watching.Go(func() {
		for e, err := range entries {
			refusal := err == nil && (strings.Contains(e.Entry.Text, "401") || strings.Contains(e.Entry.Text, "422"))
			if err == nil && e.Entry.Level == log.EntryLevelError && !refusal {
				h.note(&h.problems, e.Entry.Text)
			}
		}
	})
	h.t.Cleanup(watching.Wait)
	h.t.Cleanup(cancel)
	call(h, network.Enable, network.EnableParams{})
	call(h, log.Enable, cdp.Empty{})
	call(h, runtime.Enable, cdp.Empty{})
	if err := chromedp.Do(h.bounded(), chromedp.Navigate(h.admin.URL)); err != nil {
		h.t.Fatal(err)
	}
}

// bounded is the browser's context for one action.
func (h *house) bounded() context.Context {
	ctx, cancel := context.WithTimeout(h.browser, patience)
	h.t.Cleanup(cancel)
	return ctx
}

// call runs a command of the browser's protocol.
func call[P, R any](h *house, c cdp.Command[P, R], params P) {
	h.t.Helper()
	_, err := chromedp.Run(h.bounded(), func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
	if err != nil {
		h.t.Fatal(err)
	}
}

// note adds text to a list.
func (h *house) note(list *[]string, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*list = append(*list, text)
}

// check reports what the page has done that it should not.
func (h *house) check() {
	h.t.Helper()
	if got := eval[string](h, `document.title + " " + (document.images.length + document.scripts.length)`); got != "wireline 1" {
		h.t.Errorf("the title, and the number of images and scripts, are %q", got)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range h.requests {
		if !strings.HasPrefix(u, h.admin.URL+"/") && !strings.HasPrefix(u, "data:") {
			h.t.Errorf("the browser has asked for %s", u)
		}
	}
	for _, p := range h.problems {
		h.t.Errorf("the browser says: %s", p)
	}
}

// eval returns what an expression is in the page.
func eval[T any](h *house, expression string) T {
	h.t.Helper()
	v, err := chromedp.Run(h.bounded(), chromedp.Evaluate[T](expression))
	if err != nil {
		h.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// run runs a script in the page.
func (h *house) run(script string) {
	h.t.Helper()
	eval[chromedp.Void](h, "{"+script+"}")
}

// await waits until an expression is true in the page.
func (h *house) await(expression string) {
	h.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !eval[bool](h, "!!("+expression+")"); {
		if time.Now().After(end) {
			h.t.Fatalf("%s is not so; the page says:\n%s", expression, eval[string](h, "document.body.innerText"))
		}
		<-ticker.C
	}
}

// filter types into the filter of the connections.
func (h *house) filter(text string) {
	h.t.Helper()
	h.run(`const f = document.querySelector('#filter'); f.value = "` + text + `"; f.dispatchEvent(new Event('input'))`)
}

// client is a client of one of the servers.
type client struct {
	net.Conn
	lines *bufio.Reader
}

func (h *house) connect(s *tcptest.Server, line string) *client {
	h.t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * patience))
	c := &client{conn, bufio.NewReader(conn)}
	c.say(h.t, line)
	return c
}

func (c *client) say(t *testing.T, line string) {
	t.Helper()
	io.WriteString(c, line+"\n")
	if got, err := c.lines.ReadString('\n'); got != line+"\n" {
		t.Fatalf("%q came back, %v; want %q", got, err, line)
	}
}

// rows is an expression: the text of the rows of a table.
func rows(table string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('#%s tbody tr')].map(r => [...r.cells].map(c => c.textContent))`, table)
}

// table returns the cells of a table, one list for each row.
func (h *house) table(name string) [][]string {
	h.t.Helper()
	return eval[[][]string](h, rows(name))
}

// row returns the cells of the row of a table that has text in a cell.
func (h *house) row(table, text string) []string {
	h.t.Helper()
	quoted, _ := json.Marshal(text)
	h.await(rows(table) + `.some(r => r.includes(` + string(quoted) + `))`)
	for _, cells := range h.table(table) {
		for _, c := range cells {
			if c == text {
				return cells
			}
		}
	}
	h.t.Fatalf("no row of %s has %q", table, text)
	return nil
}

// The page shows the hubs, with their rates, and the keys of clients.
func TestHubs(t *testing.T) {
	h := newHouse(t, "")
	c := h.connect(h.device, "join "+hostile)
	row := h.row("connections", c.LocalAddr().String())
	if all := strings.Join(row, "|"); !strings.Contains(all, "key="+hostile+" rooms=0") {
		t.Errorf("the row of the client is %q", row)
	}
	h.filter("key=")
	h.await(rows("connections") + `.length === 1`)
	row = h.row("hubs", "fleet")
	if got := strings.Join(append(row[:6:6], row[11:]...), "|"); got != "fleet|1|0|1|0|0|connected|3|1.5 ms|0" {
		t.Errorf("the row of the hub is %q", row)
	}
	h.hub.Send(t.Context(), "nobody", nil)
	h.await(rows("hubs") + `.some(r => parseFloat(r[6]) > 0)`)
	since := time.Now()
	h.hub.Bus.(*lonelyBus).awaySince.Store(&since)
	h.await(rows("hubs") + `.some(r => r[11].startsWith('away since') && r[14] === '7')`)
	h.check()
}

// The page shows what the API says, of hostile clients too, and its buttons work.
func TestPage(t *testing.T) {
	h := newHouse(t, "")
	c := h.connect(h.device, "I am "+hostile)
	p := h.connect(h.relay, "hello")
	row := h.row("connections", c.LocalAddr().String())
	if all := strings.Join(row, "|"); row[0] != "device" || row[4] != "idle" || !strings.Contains(all, "device="+hostile) {
		t.Errorf("the row of the client is %q", row)
	}
	row = h.row("connections", p.LocalAddr().String())
	if row[0] != "relay" || row[3] != h.device.Addr || row[4] != "relaying" || row[7] != "6 B" || row[8] != "6 B" {
		t.Errorf("the row of the pair is %q", row)
	}
	h.await(`document.querySelector('#services').textContent.includes('device')`)
	h.await(`document.querySelector('#config').textContent.includes('onerror')`)

	t.Run("filter and sort", func(t *testing.T) {
		h.filter("relaying")
		h.await(rows("connections") + `.length === 1`)
		h.filter("")
		h.await(rows("connections") + `.length === 3`)
		h.run(`[...document.querySelectorAll('#connections th button')].find(b => b.textContent.startsWith('age')).click()`)
		h.await(rows("connections") + `.map(r => r[2])[0] === "` + c.LocalAddr().String() + `"`)
	})
	t.Run("end a connection", func(t *testing.T) {
		h.run(`[...document.querySelectorAll('#connections tbody tr')].find(r => r.item.peer === "` + c.LocalAddr().String() + `").querySelector('button').click()`)
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("the client sees %q, %v; want a FIN", rest, err)
		}
		c.Close()
		row := h.row("ends", c.LocalAddr().String())
		if all := strings.Join(row, "|"); !strings.Contains(all, "server|kicked") || !strings.Contains(all, hostile) {
			t.Errorf("the row of the ended client is %q", row)
		}
		p.say(t, "still there")
	})
	t.Run("drain an upstream", func(t *testing.T) {
		press := func(name string) {
			h.run(`[...document.querySelectorAll('#upstreams button')].find(b => b.textContent === '` + name + `').click()`)
		}
		wanted := func(state string) {
			h.await(rows("upstreams") + `.some(r => r[3] === "` + state + `")`)
		}
		press("Drain")
		wanted("drain")
		conn, err := net.Dial("tcp", h.relay.Addr)
		if err == nil {
			conn.SetDeadline(time.Now().Add(patience))
			if _, err = conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a new client sees %v, want a reset", err)
			}
			conn.Close()
		}
		p.say(t, "still there")
		press("Up")
		wanted("up")
		h.connect(h.relay, "new")
	})
	t.Run("reload", func(t *testing.T) {
		h.run(`document.querySelector('#reload').click()`)
		h.await(`document.querySelector('#reloaded').textContent === 'changed: tcp.max_clients; kept until a restart: admin.address'`)
		h.await(`document.querySelector('#config').textContent.includes('"reloads": 1')`)
		h.run(`document.querySelector('#reload').click()`) // fails in part
		h.await(`document.querySelector('#reloaded').textContent.includes('this failed: x')`)
		h.await(`document.querySelector('#config').textContent.includes('"reloads": 2')`)
	})
	h.check()
	for _, scheme := range []string{"light", "dark"} {
		h.darken(scheme)
	}
}

// darken shows the page in a colour scheme, and checks that its background is one of that.
func (h *house) darken(scheme string) {
	h.t.Helper()
	call(h, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	want := map[string]string{"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 28)"}[scheme]
	if got := eval[string](h, `getComputedStyle(document.body).backgroundColor`); got != want {
		h.t.Errorf("the %s background is %s, want %s", scheme, got, want)
	}
}

// TestScreenshot writes a picture of a page with some life on it into the file that
// WIRELINE_SCREENSHOT names.
func TestScreenshot(t *testing.T) {
	file := os.Getenv("WIRELINE_SCREENSHOT")
	if file == "" {
		t.Skip("WIRELINE_SCREENSHOT does not name a file")
	}
	h := newHouse(t, "")
	var clients []*client
	for i := range 8 {
		server := h.device
		if i%3 == 0 {
			server = h.relay
		}
		clients = append(clients, h.connect(server, fmt.Sprintf("I am meter-%d", 100+i)))
	}
	for second := range 20 {
		for i, c := range clients {
			for range (second*7+i*3)%23 + i {
				c.say(t, strings.Repeat("x", 200))
			}
		}
		if second == 5 {
			clients[7].Close()
			clients = clients[:7]
		}
		h.await(fmt.Sprintf("cards.size > 0 && [...cards.values()][0].history[0].length > %d", second/2))
	}
	picture, err := chromedp.Run(h.bounded(), chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A thousand connections are in the table, and the figures are those of the API.
func TestPageWithManyConnections(t *testing.T) {
	h := newHouse(t, "")
	const clients = 1000
	for i := range clients {
		h.connect(h.device, fmt.Sprintf("I am %d", i))
	}
	h.await(rows("connections") + `.length === 1000`)
	if got := eval[string](h, `document.querySelector('#shown').textContent`); got != "1,000 of 1,000" {
		t.Errorf("the note says %q", got)
	}
	h.filter("device=99")
	h.await(rows("connections") + `.length === 11`) // 99, 990 to 999
	resp, err := http.Get(h.admin.URL + "/api/services")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Services []struct {
			Name        string
			Connections int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Services[0].Connections != clients {
		t.Errorf("the API says %+v, %v", answer, err)
	}
	if text := eval[string](h, `document.querySelector('#services').textContent`); !strings.Contains(text, "connections1,000accepted1,000") {
		t.Errorf("the card says %s", text)
	}
	h.check()
}

// staged is a handler that shows connections which are not there.
type staged struct {
	handler.Handler
	list []handler.Live
}

func (s staged) Live() iter.Seq[handler.Live] { return slices.Values(s.list) }
func (s staged) Totals() handler.Totals       { return handler.Totals{Opened: uint64(len(s.list))} }
func (s staged) Last() []handler.Record       { return nil }

// The filter finds any of the connections, also those that are not on the screen. A time of
// another day has its date.
func TestPageFiltersAll(t *testing.T) {
	var list []handler.Live
	for i := range 15_000 {
		list = append(list, handler.Live{
			Record: handler.Record{ID: uint64(i + 1), Peer: &net.TCPAddr{IP: net.IPv4(10, 1, byte(i>>8), byte(i)), Port: 4000}, Attrs: []slog.Attr{slog.Int("device", i)}},
			State:  handler.StateIdle,
		})
	}
	h := newHouse(t, "", &tcp.Server{Name: "crowd", Handler: staged{list: list}})
	h.run(`sortBy('id')`)
	h.await(rows("connections") + `.length === 1000`)
	h.await(`document.querySelector('#shown').textContent === '15,000 of 15,000; the first 1,000 in this order are here'`)
	h.filter("Crowd DEVICE=14999")
	h.await(rows("connections") + `.length === 1`)
	row := h.row("connections", "10.1.58.151:4000")
	if row[1] != "15000" {
		t.Errorf("the row is %q", row)
	}
	h.await(`document.querySelector('#shown').textContent === '1 of 15,000'`)
	h.filter("nobody & nothing%")
	h.await(rows("connections") + `.length === 0`)
	h.filter("")
	h.await(rows("connections") + `.length === 1000`)
	today, other := eval[string](h, `clock(new Date().toISOString())`), eval[string](h, `clock('2020-02-03T04:05:06Z')`)
	if strings.Contains(today, "/") || !strings.Contains(other, "2020") {
		t.Errorf("a time of today is %q, one of another day %q", today, other)
	}
	h.check()
}

// With a token, the page asks for it, and shows nothing before.
func TestPageAsksForTheToken(t *testing.T) {
	h := newHouse(t, "s3cret")
	h.connect(h.device, "hello")
	h.await(`!document.querySelector('#login').hidden && document.querySelector('main').hidden`)
	login := func(token string) {
		h.run(`document.querySelector('#token').value = "` + token + `"; document.querySelector('#login form').requestSubmit()`)
	}
	login("wrong")
	h.await(`document.querySelector('#refused').textContent === 'The token is wrong.'`)
	login("s3cret")
	h.await(rows("connections") + `.length === 1`)
	h.check()
}
