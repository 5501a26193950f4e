package app

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/admin"
	"wireline/config"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// reloading is a reloader whose file is in memory, and its log.
type reloading struct {
	*reloader
	text  string
	reads int
	read  func() // called by each read, if set
	log   bytes.Buffer
}

func newReloading(t *testing.T, text string) *reloading {
	t.Helper()
	r := &reloading{text: text}
	options := Options("", []string{"--config=wireline.yaml"}, nil)
	options.ReadFile = func(string) ([]byte, error) {
		text := r.text
		r.reads++
		if r.read != nil {
			r.read()
		}
		return []byte(text), nil
	}
	first := &state{cfg: new(Config)}
	var err error
	if first.loaded, err = config.Load(first.cfg, options); err != nil {
		t.Fatal(err)
	}
	m, err := newMaker(&r.log, first.cfg.Log)
	if err != nil {
		t.Fatal(err)
	}
	g := new(tcp.Group)
	r.reloader = newReloader(first, options, new(configFile), g, m)
	g.Servers = slices.Collect(maps.Values(r.servers))
	return r
}

// logged returns the log.
func (r *reloading) logged() string {
	logger.Flush(testutil.Patience)
	return r.log.String()
}

// What a reload does to services.
func TestPlan(t *testing.T) {
	const echo, front = "handler: echo", "handler: proxy, proxy: {upstreams: '127.0.0.1:1'}"
	const a = "a: {tcp: {address: '127.0.0.1:1001'}}"
	const b = "b: {tcp: {address: '127.0.0.1:1002'}, handler: proxy, proxy: {upstreams: '127.0.0.1:1'}}"
	services := func(list ...string) string { return "services: {" + strings.Join(list, ", ") + "}\n" }
	for name, test := range map[string]struct {
		before, after                     string
		changed, added, removed, kept, is string // is has the servers in Set and how many commits there are
	}{
		"nothing":       {before: services(a, b), after: services(b, a), is: "0"},
		"a default":     {before: services(a, b), after: services(a, b) + "tcp: {max_clients: 5}", changed: "tcp.max_clients", is: "a b 0"},
		"echo":          {before: services(a, b), after: services(a, b) + "echo: {max_line: 5}", changed: "echo.max_line", is: "1"},
		"proxy":         {before: services(a, b), after: services(a, strings.Replace(b, "1:1'}", "1:2'}", 1)), changed: "services.b.proxy.upstreams", is: "1"},
		"the other's":   {before: services(a, b), after: services(a, strings.Replace(b, "proxy: {", "echo: {max_line: 5}, proxy: {", 1)), changed: "services.b.echo.max_line", is: "0"},
		"address":       {before: services(a), after: services(strings.Replace(a, "1001", "1003", 1)), changed: "services.a.tcp.address", is: "a 0"},
		"added":         {before: services(a), after: services(a, b), added: "b", is: "0"},
		"removed":       {before: services(a, b), after: services(b), removed: "a", is: "0"},
		"unnamed goes":  {before: "", after: services(a), added: "a", removed: "default", is: "0"},
		"unnamed comes": {before: services(a), after: "tcp: {address: '127.0.0.1:1002'}", changed: "tcp.address", added: "default", removed: "a", is: "0"},
		"admin":         {before: services(a), after: services(a) + "admin: {address: '127.0.0.1:9', token: x}", kept: "admin.address admin.token", is: "0"},
		"log":           {before: "", after: "log: {level: debug, format: json, connections: false}", changed: "log.level log.format log.connections", is: "0"},
		"watch":         {before: "", after: "reload: {watch: true}", changed: "reload.watch", is: "0"},
		"handler": {before: services("a: {tcp: {address: '127.0.0.1:1001'}, " + front + "}"),
			after:   services("a: {tcp: {address: '127.0.0.1:1001', max_clients: 5}, " + echo + ", echo: {max_line: 5}}"),
			changed: "services.a.tcp.max_clients services.a.echo.max_line", kept: "services.a.handler services.a.proxy.upstreams", is: "a 0"},
		"unnamed handler": {before: "", after: "handler: proxy\nproxy: {upstreams: '127.0.0.1:1'}\necho: {max_line: 5}",
			changed: "proxy.upstreams", kept: "handler echo.max_line", is: "0"},
		"fixed": {before: services(a) + "tcp: {receive_buffer: 65536}", after: services(a) + "tcp: {max_clients: 5}",
			changed: "tcp.max_clients tcp.receive_buffer", kept: "services.a.tcp.receive_buffer", is: "a 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloading(t, test.before)
			r.text = test.after
			next, kept, err := r.load()
			if err != nil {
				t.Fatal(err)
			}
			p := r.plan(r.now.Load(), next)
			got := []string{strings.Join(p.result.Changed, " "), strings.Join(p.result.Added, " "), strings.Join(p.result.Removed, " "), strings.Join(kept, " ")}
			if want := []string{test.changed, test.added, test.removed, test.kept}; !slices.Equal(got, want) {
				t.Errorf("changed, added, removed, kept are\n%q, want\n%q", got, want)
			}
			var is []string
			for s := range p.changes.Set {
				is = append(is, s.Name)
			}
			slices.Sort(is)
			is = append(is, string(rune('0'+len(p.handlers))))
			if got := strings.Join(is, " "); got != test.is {
				t.Errorf("it sets %s, want %s", got, test.is)
			}
			if len(p.changes.Add) != len(p.result.Added) || len(p.changes.Remove) != len(p.result.Removed) || len(p.servers) != len(next.cfg.all()) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// What a reload refuses because of what is there now.
func TestReloadIsRefused(t *testing.T) {
	const a = "services: {a: {tcp: {address: '127.0.0.1:1001'}}}"
	for name, test := range map[string]struct{ before, after, want string }{
		"empty":            {a, "", "file wireline.yaml: is empty"},
		"comments":         {"tcp: {max_clients: 5}", "# tcp: {max_clients: 5}\nservices: {}\ntcp:\n", "file wireline.yaml: is empty"},
		"no service":       {a, "services: {}\ntcp: {max_clients: 5}", "services: file wireline.yaml: has no service any more: a service without a name needs tcp.address"},
		"only the handler": {a, "handler: echo", "services: file wireline.yaml: has no service any more: a service without a name needs tcp.address"},
		"no address": {
			"handler: echo\ntcp: {address: '127.0.0.1:1001'}", "handler: echo",
			`tcp.address: file wireline.yaml: is not set any more: a reload changes to ":8000", the default, only if it is set`},
		"what cannot change": {
			"admin: {address: '127.0.0.1:9'}", "tcp: {address: '127.0.0.1:9'}",
			`this does not go together with what cannot change until a restart: admin.address: file wireline.yaml: "127.0.0.1:9" is an address of tcp.address`},
		"the handler that stays": {
			"handler: proxy\nproxy: {upstreams: '127.0.0.1:1'}", "handler: echo\ntcp: {linger: lingering}",
			`tcp.linger: file wireline.yaml: "lingering" is not for the handler proxy`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloading(t, test.before)
			before := r.now.Load()
			r.text = test.after
			result, err := r.reload("test")
			if err == nil || !strings.Contains(err.Error(), test.want) || !result.IsEmpty() || r.now.Load() != before {
				t.Errorf("%v, want %s", err, test.want)
			}
			if log := r.logged(); !strings.Contains(log, `level=ERROR msg="reload failed, nothing has changed" trigger=test`) {
				t.Errorf("logged\n%s", log)
			}
		})
	}
}

// Those who want a reload while one is under way have the next one together.
func TestReloadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "")
		r.text = "tcp: {max_clients: 5}"
		r.read = func() {
			r.read = nil
			time.Sleep(time.Minute)
			r.text = "tcp: {max_clients: 6}" // too late for this read
		}
		r.reads = 0
		results := make([]admin.ReloadResult, 10)
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				if i > 0 {
					time.Sleep(time.Second)
				}
				results[i], _ = r.reload("test")
			})
		}
		all.Wait()
		if r.reads != 2 {
			t.Errorf("%d reads, want 2", r.reads)
		}
		for i, result := range results {
			if len(result.Changed) != 1 {
				t.Errorf("reload %d: %v", i, result)
			}
		}
		if got := r.now.Load().cfg.TCP.MaxClients; got != 6 {
			t.Errorf("max_clients is %d", got)
		}
		r.logged()
	})
}

// A file that is lost after all was checked fails the reload before anything changes. One that is lost
// later does not matter.
func TestReloadPreparesHandlers(t *testing.T) {
	files := []string{filepath.Join(t.TempDir(), "a.pem"), filepath.Join(t.TempDir(), "b.pem")}
	text := testutil.NewAuthority(t).PEM
	for _, file := range files {
		testutil.ReplaceFile(t, file, text)
	}
	services := func(upstream int) string {
		list := "services:\n"
		for i, file := range files {
			list += fmt.Sprintf("  %c: {handler: proxy, tcp: {address: '127.0.0.1:%d'}, proxy: {upstreams: '127.0.0.1:%d', tls: {enable: true, ca: %s}}}\n",
				'a'+i, 1001+i, upstream, file)
		}
		return list
	}
	r := newReloading(t, services(1))
	defer r.logged()
	for _, s := range r.servers {
		defer s.Handler.Close()
	}
	begin := func() *plan {
		t.Helper()
		r.text = services(2)
		next, _, err := r.load()
		if err != nil {
			t.Fatal(err)
		}
		return r.plan(r.now.Load(), next)
	}
	upstreamsAre := func(want string) {
		t.Helper()
		for _, s := range r.servers {
			if got := s.Handler.(*proxy.Proxy).Upstreams(); len(got) != 1 || got[0].Name != want {
				t.Errorf("the upstreams of %s are %v, want %s", s.Name, got, want)
			}
		}
	}
	p := begin()
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if err := p.prepare(); err == nil || !strings.Contains(err.Error(), "Services.b.Proxy.TLS.CA") {
		t.Errorf("without a file: %v", err)
	}
	upstreamsAre("127.0.0.1:1")
	testutil.ReplaceFile(t, files[1], text)
	p = begin()
	if err := p.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if err := p.commit(); err != nil {
		t.Error(err)
	}
	upstreamsAre("127.0.0.1:2")
	testutil.ReplaceFile(t, files[1], text)
	p = begin()
	if err := p.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.servers {
		if err := s.Handler.(*proxy.Proxy).Reconfigure(proxy.Config{Upstreams: []string{"127.0.0.1:3"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if err := p.commit(); err == nil || !strings.Contains(err.Error(), files[1]) {
		t.Errorf("a commit that begins anew: %v", err)
	}
}

// A level that was set while the program runs outlives a reload that has the old one.
func TestLevelOutlivesReload(t *testing.T) {
	r := newReloading(t, "log: {level: warn}")
	level := r.maker.log.Level
	level.Set(-4)
	for _, step := range []struct{ text, want string }{
		{"log: {level: warn, format: json}", "DEBUG"},
		{"log: {level: error}", "ERROR"},
		{"tcp: {max_clients: 5}", "INFO"},
	} {
		r.text = step.text
		if _, err := r.reload("test"); err != nil || level.Level().String() != step.want {
			t.Errorf("%s: %v, the level is %s, want %s", step.text, err, level.Level(), step.want)
		}
	}
	r.logged()
}

// A reload that keeps log.level does not set the level, not even for a moment. A level that cannot be
// set shows that.
func TestReloadLeavesLevel(t *testing.T) {
	r := newReloading(t, "")
	level := logger.Config{Level: "none"}
	r.maker.setLog(level, logger.Config{Level: level.Level, Format: "json"})
	r.maker.log.Info("said")
	if log := r.logged(); !strings.HasPrefix(log, "{") {
		t.Errorf("logged %s", log)
	}
}

// A reload waits for an address in use only if one was given up a moment ago.
func TestReloadsThatReleaseAnAddress(t *testing.T) {
	const a, b = "services: {a: {tcp: {address: '127.0.0.1:1'}}}\n", "services: {a: {tcp: {address: '127.0.0.1:1'}}, b: {tcp: {address: '127.0.0.1:2'}}}\n"
	for name, test := range map[string]struct {
		before, after string
		releases      bool
	}{
		"nothing":   {a, a, false},
		"a setting": {a, a + "tcp: {max_clients: 5}", false},
		"added":     {a, b, false},
		"removed":   {b, a, true},
		"moved":     {a, strings.Replace(a, ":1'", ":3'", 1), true},
		"network":   {a, strings.Replace(a, "{address", "{network: tcp4, address", 1), false}, // it is kept
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloading(t, test.before)
			r.text = test.after
			if _, err := r.reload("test"); err != nil || r.released.IsZero() == test.releases {
				t.Errorf("%v, an address was released at %v", err, r.released)
			}
			released := r.released
			r.text += "\nlog: {level: warn}"
			if _, err := r.reload("test"); err != nil || r.released != released {
				t.Errorf("%v, an address was released at %v, want %v", err, r.released, released)
			}
		})
	}
}
