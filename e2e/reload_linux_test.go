package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"wireline/admin"
	"wireline/internal/testutil"
)

// reloadable is a server with a configuration file and an admin side.
type reloadable struct {
	*administered
	file string
}

// startReloadable starts wireline with a file, and waits until it has listened as often as
// there are services in it.
func startReloadable(t *testing.T, listeners int, text string, args ...string) *reloadable {
	t.Helper()
	r := &reloadable{administered: newAdministered(t), file: filepath.Join(t.TempDir(), "wireline.yaml")}
	r.write(t, text)
	r.process = launch(t, "wireline", append([]string{"--config=" + r.file, "--admin.address=" + r.side}, args...)...)
	r.awaitIn(&r.stderr, "msg=listening ", listeners)
	r.addr = r.await("msg", "listening")["addr"]
	return r
}

// write replaces the configuration file.
func (r *reloadable) write(t *testing.T, text string) {
	t.Helper()
	testutil.ReplaceFile(t, r.file, []byte(text))
}

// hup sends SIGHUP, and returns the line that says what came of it.
func (r *reloadable) hup() entry {
	r.t.Helper()
	n := len(r.reloads())
	r.signal(syscall.SIGHUP)
	return r.reloaded(n + 1)
}

// reloads returns the lines about reloads.
func (r *reloadable) reloads() (list []entry) {
	for _, e := range r.log() {
		if strings.HasPrefix(e["msg"], "reload") && e["took_s"] != "" {
			list = append(list, e)
		}
	}
	return list
}

// reloaded waits for the nth line about a reload.
func (r *reloadable) reloaded(n int) entry {
	r.t.Helper()
	testutil.Eventually(r.t, "the line about the reload", func() bool { return len(r.reloads()) >= n })
	return r.reloads()[n-1]
}

// post asks for a reload over the admin side.
func (r *reloadable) post() (status int, result admin.ReloadResult, problem string) {
	r.t.Helper()
	resp, err := r.http.Post("http://localhost/api/reload", "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		admin.ReloadResult
		Error string
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, answer.ReloadResult, answer.Error
}

// changes applies a new file, and checks which keys have changed and which are kept.
func (r *reloadable) changes(text string, changed, kept string) {
	r.t.Helper()
	r.write(r.t, text)
	status, result, problem := r.post()
	if got := strings.Join(result.Changed, " "); status != http.StatusOK || got != changed || strings.Join(result.Kept, " ") != kept {
		r.t.Fatalf("%d %s: changed %s, kept %v; want %s, %s", status, problem, got, result.Kept, changed, kept)
	}
}

// setting returns a value of the configuration in force.
func (r *reloadable) setting(key string) string {
	r.t.Helper()
	_, body := r.get("/api/config")
	var values []struct{ Key, Value string }
	if err := json.Unmarshal([]byte(body), &values); err != nil {
		r.t.Fatal(err)
	}
	for _, v := range values {
		if v.Key == key {
			return v.Value
		}
	}
	return "(none)"
}

// SIGHUP applies the file to new clients, and leaves the others as they are.
func TestReloadBySignal(t *testing.T) {
	t.Parallel()
	r := startReloadable(t, 1, "tcp: {address: '127.0.0.1:0'}\necho: {max_line: 20}\n")
	old := r.dial()
	echoes(t, old, "hello\n")
	if e := r.hup(); e["msg"] != "reloaded, nothing has changed" || e["trigger"] != "signal" {
		t.Errorf("without a change: %v", e)
	}
	r.write(t, "tcp: {address: '127.0.0.1:0'}\necho: {max_line: 5}\n")
	if e := r.hup(); e["msg"] != "reloaded" || e["changed"] != "1" || e["keys"] != "echo.max_line" || e["level"] != "INFO" {
		t.Errorf("with a change: %v", e)
	}
	echoes(t, old, "as long as before\n")
	late := r.dial()
	send(t, late, "hello, world\n")
	receiveRest(t, late, "error: line too long (max 5 bytes)\n")
	if got := r.setting("echo.max_line"); got != "5" {
		t.Errorf("in force is %s", got)
	}
	r.stop()
	receiveRest(t, old, "")
}

// Without a file SIGHUP drains, and there is nothing to reload.
func TestNoFileToReload(t *testing.T) {
	t.Parallel()
	a := startAdministered(t, "--reload.watch")
	if e := a.await("level", "WARN"); !strings.Contains(e["msg"], "reload.watch") {
		t.Errorf("the warning is %v", e)
	}
	conn := a.dial()
	echoes(t, conn, "hello\n")
	if out, code := a.command("reload"); code != exitFailed || !strings.Contains(out, "no configuration file") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	a.signal(syscall.SIGHUP)
	receiveRest(t, conn, "")
	if code := a.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// What is wrong is told, and nothing changes.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0").Addr().String()
	const good = "tcp: {address: '127.0.0.1:0'}\necho: {max_line: 20}\n"
	r := startReloadable(t, 1, good)
	conn := r.dial()
	check := func(name string, want ...string) {
		t.Helper()
		e := r.hup()
		_, _, problem := r.post()
		for _, s := range want {
			if e["msg"] != "reload failed, nothing has changed" || e["level"] != "ERROR" || !strings.Contains(e["err"], s) || !strings.Contains(problem, s) {
				t.Errorf("%s: %v, API: %s; want %s", name, e, problem, s)
			}
		}
		out, code := r.command("reload")
		if code != exitFailed || !strings.Contains(out, want[0]) || strings.Count(out, "wireline: ") != 1+strings.Count(problem, "\n") {
			t.Errorf("%s: exit code %d\n%s", name, code, out)
		}
		if got := r.setting("echo.max_line"); got != "20" {
			t.Errorf("%s: in force is %s", name, got)
		}
		echoes(t, conn, "hello\n")
		late := r.dial()
		echoes(t, late, "longer than five\n")
		late.Close()
	}
	for name, test := range map[string]struct{ text, want string }{
		"not YAML":        {"tcp: [", "file " + r.file},
		"empty":           {"", "file " + r.file + ": is empty"},
		"unknown key":     {good + "echo.max_lines: 5\n", "echo.max_lines: file " + r.file + ": unknown key"},
		"bad value":       {"echo: {max_line: 5, idle_timeout: soon}\n", "echo.idle_timeout: file " + r.file},
		"TLS files":       {"echo: {max_line: 5}\ntcp: {address: '127.0.0.1:0', tls: {cert: /missing, key: /missing}}\n", "tcp.tls.cert: file " + r.file},
		"taken port":      {"echo: {max_line: 5}\nservices: {a: {tcp: {address: '127.0.0.1:0'}}, b: {tcp: {address: '" + taken + "'}}}\n", "services.b.tcp.address: file " + r.file},
		"taken address":   {"echo: {max_line: 5}\ntcp: {address: '" + taken + "'}\n", "tcp.address: file " + r.file},
		"itself upstream": {"handler: proxy\ntcp: {address: '127.0.0.1:7'}\nproxy: {upstreams: 'localhost:7'}\n", "proxy.upstreams: file " + r.file},
	} {
		r.write(t, test.text)
		check(name, test.want)
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	check("missing", "no such file")
	if err := syscall.Mkfifo(r.file, 0o600); err != nil {
		t.Fatal(err)
	}
	check("FIFO", "is not a regular file")
	r.write(t, good)
	if e := r.hup(); e["msg"] != "reloaded, nothing has changed" {
		t.Errorf("as before: %v", e)
	}
	r.stop()
}

// All that can change, and what cannot.
func TestReloadChanges(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("localhost")
	port := freePorts(t, 2)
	was, moved := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1)
	r := startReloadable(t, 1, "services: {lines: {tcp: {address: '"+was+"'}}}\n")
	addr := func(service string) (addr string) {
		t.Helper()
		testutil.Eventually(t, "the address of "+service, func() bool {
			var answer admin.Services
			_, body := r.get("/api/services")
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			for _, s := range answer.Services {
				if s.Name == service && len(s.Addresses) == 1 { // none before it listens
					addr = s.Addresses[0]
					return true
				}
			}
			return false
		})
		return addr
	}
	dial := func(service string) net.Conn { t.Helper(); return testutil.Dial(t, "tcp", addr(service)) }
	first := dial("lines")
	echoes(t, first, "hello\n")
	const head = "log: {connections: false}\nservices:\n"
	lines := "  lines: {tcp: {address: '" + was + "'}}\n"

	r.changes(head+lines, "log.connections", "")
	r.changes(head+"  lines: {tcp: {address: '"+was+"', deny: 127.0.0.1}}\n", "services.lines.tcp.deny", "")
	testutil.Eventually(t, "clients are refused", func() bool {
		conn, err := net.Dial("tcp", addr("lines"))
		if err != nil {
			return true // it was reset before Dial had returned
		}
		defer conn.Close()
		fmt.Fprintln(conn, "hello")
		_, err = conn.Read(make([]byte, 1))
		return err != nil
	})
	r.changes(head+lines, "services.lines.tcp.deny", "")
	echoes(t, dial("lines"), "hello\n")

	// An added service, a proxy; its upstreams change.
	front := func(upstreams string) string {
		return head + lines + "  front: {handler: proxy, tcp: {address: '127.0.0.1:0'}, proxy: {upstreams: [" + upstreams + "]}}\n"
	}
	r.write(t, front("'127.0.0.1:1'"))
	if _, result, problem := r.post(); strings.Join(result.Added, " ") != "front" || len(result.Changed) > 0 {
		t.Fatalf("added %v, changed %v: %s", result.Added, result.Changed, problem)
	}
	r.changes(front("'"+was+"'"), "services.front.proxy.upstreams", "")
	pair := dial("front")
	echoes(t, pair, "hello\n")
	r.changes(front("'127.0.0.1:1', '"+was+" weight=3'"), "services.front.proxy.upstreams", "")
	echoes(t, pair, "still there\n")

	// The address moves; the clients stay.
	r.changes(head+"  lines: {tcp: {address: '"+moved+"', tls: {cert: '"+a.file("localhost.pem")+"', key: '"+a.file("localhost.key")+"'}}}\n"+
		"  front: {handler: proxy, tcp: {address: '127.0.0.1:0'}, proxy: {upstreams: ['"+was+"']}}\n",
		"services.front.proxy.upstreams services.lines.tcp.address services.lines.tcp.tls.cert services.lines.tcp.tls.key", "")
	if got := addr("lines"); got != moved {
		t.Errorf("lines listens on %s, want %s", got, moved)
	}
	echoes(t, first, "still there\n")
	echoes(t, pair, "still there\n")
	r.await("msg", "listener closed")
	if conn, err := net.Dial("tcp", was); err == nil {
		conn.Close()
		t.Error("the old listener is left")
	}

	// What cannot change.
	r.changes("admin: {hosts: example.com}\n"+head+"  lines: {handler: proxy, proxy: {upstreams: '127.0.0.1:1'}, tcp: {address: '"+moved+"', max_clients: 7}}\n"+
		"  front: {handler: proxy, tcp: {address: '127.0.0.1:0'}, proxy: {upstreams: ['"+was+"']}}\n",
		"services.lines.tcp.max_clients services.lines.tcp.tls.cert services.lines.tcp.tls.key services.lines.proxy.upstreams", "admin.hosts services.lines.handler")
	if e := r.await("msg", "cannot change until a restart"); e["level"] != "WARN" || e["keys"] != "admin.hosts,services.lines.handler" {
		t.Errorf("the warning is %v", e)
	}
	if got := r.setting("services.lines.handler") + r.setting("admin.hosts"); got != "echo" {
		t.Errorf("in force is %s", got)
	}
	echoes(t, dial("lines"), "plain again\n")

	// The services give way to the unnamed one.
	r.write(t, "tcp: {address: '127.0.0.1:0'}\n")
	_, result, problem := r.post()
	if strings.Join(result.Added, " ") != "default" || strings.Join(result.Removed, " ") != "front lines" {
		t.Fatalf("added %v, removed %v: %s", result.Added, result.Removed, problem)
	}
	receiveRest(t, first, "")
	receiveRest(t, pair, "")
	echoes(t, dial("default"), "hello\n")
	if status, body := r.get("/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
	r.stop()
}

// Reloads may follow each other at once, also if an address or a service comes back.
func TestReloadBackAndForth(t *testing.T) {
	t.Parallel()
	port := freePorts(t, 3)
	text := func(n int) string {
		s := fmt.Sprintf("services:\n  lines: {tcp: {address: '127.0.0.1:%d'}}\n", port+n%2)
		if n%3 == 0 {
			s += fmt.Sprintf("  extra: {tcp: {address: '127.0.0.1:%d'}}\n", port+2)
		}
		return s
	}
	r := startReloadable(t, 2, text(0))
	for n := 1; n < 8; n++ {
		r.write(t, text(n))
		if status, _, problem := r.post(); status != http.StatusOK {
			t.Fatalf("reload %d: %d %s", n, status, problem)
		}
		conn := testutil.Dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", port+n%2))
		echoes(t, conn, "hello\n")
	}
	r.stop()
}

// The level and the format of the log.
func TestReloadLog(t *testing.T) {
	t.Parallel()
	const tcp = "tcp: {address: '127.0.0.1:0'}\n"
	r := startReloadable(t, 1, tcp)
	level := func(set string) string {
		t.Helper()
		method := "PUT"
		if set == "" {
			method = "GET"
		}
		req, _ := http.NewRequest(method, "http://localhost/api/log", strings.NewReader(set))
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return strings.TrimSpace(string(b))
	}
	level(`{"level": "debug"}`)
	r.changes(tcp+"log: {format: json}\n", "log.format", "")
	r.awaitIn(&r.stderr, `"msg":"reloaded"`, 1)
	if got := level(""); got != `{"level":"DEBUG"}` {
		t.Errorf("the file's level has not changed, and the level is %s", got)
	}
	r.changes(tcp+"log: {format: text, level: warn}\n", "log.level log.format", "")
	if got := level(""); got != `{"level":"WARN"}` {
		t.Errorf("the level is %s", got)
	}
	r.changes(tcp, "log.level", "")
	conn := r.dial()
	echoes(t, conn, "hello\n")
	conn.Close()
	r.await("msg", "connection")
	r.changes(tcp+"log: {connections: false}\n", "log.connections", "")
	conn = r.dial()
	echoes(t, conn, "hello\n")
	conn.Close()
	testutil.Eventually(t, "the end of the connection", func() bool {
		_, body := r.get("/api/ends")
		return strings.Count(body, `"service":`) == 2
	})
	r.stop()
	if n := len(r.find("msg", "connection")); n != 1 {
		t.Errorf("%d records of connections, want 1", n)
	}
}

// Over the admin side a reload needs the token.
func TestReloadNeedsToken(t *testing.T) {
	t.Parallel()
	r := startReloadable(t, 1, "tcp: {address: '127.0.0.1:0'}\n", "--admin.token=s3cret")
	r.write(t, "tcp: {address: '127.0.0.1:0', max_clients: 7}\n")
	for token, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "s3cret": http.StatusOK} {
		req, _ := http.NewRequest("POST", "http://localhost/api/reload", strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("token %q: %d, want %d", token, resp.StatusCode, want)
		}
	}
	if out, code := r.command("reload", "--admin.token=s3cret"); code != exitOK || out != "nothing has changed\n" {
		t.Errorf("exit code %d: %s", code, out)
	}
	r.stop()
	if n := len(r.reloads()); n != 2 {
		t.Errorf("%d reloads, want 2", n)
	}
}

// The command prints what has changed.
func TestReloadCommand(t *testing.T) {
	t.Parallel()
	r := startReloadable(t, 1, "tcp: {address: '127.0.0.1:0'}\n")
	r.write(t, "tcp: {max_clients: 7}\nadmin: {hosts: example.com}\nservices: {a: {tcp: {address: '127.0.0.1:0'}}}\n")
	out, code := r.command("reload")
	const want = "changed: tcp.address\nchanged: tcp.max_clients\nadded service: a\nremoved service, which drains: default\ncannot change until a restart: admin.hosts\n"
	if code != exitOK || out != want {
		t.Errorf("exit code %d\n%s\nwant\n%s", code, out, want)
	}
	out, code = r.command("reload", "--json")
	var result admin.ReloadResult
	if err := json.Unmarshal([]byte(out), &result); code != exitOK || err != nil || !result.IsEmpty() || len(result.Kept) != 1 {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	r.write(t, "echo: {max_lines: 5}\ntcp: {max_client: 5}\n") // the command itself cannot read it
	if out, code = r.command("reload", "--config="+r.file); code != exitUsage || !strings.Contains(out, "echo.max_lines") {
		t.Errorf("a bad file: exit code %d\n%s", code, out)
	}
	if out, code = r.command("reload"); code != exitFailed || !strings.Contains(out, "echo.max_lines") || !strings.Contains(out, "\nwireline: tcp.max_client: ") {
		t.Errorf("the program has a bad file: exit code %d\n%s", code, out)
	}
	r.stop()
}

// With reload.watch a change of the file is enough, also behind symbolic links, as Kubernetes
// makes them.
func TestReloadWatch(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name, "wireline.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(folder, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	const base = "tcp: {address: '127.0.0.1:0'}\nreload: {watch: true}\n"
	version("..1", base)
	if err := os.Symlink("..data/wireline.yaml", filepath.Join(folder, "wireline.yaml")); err != nil {
		t.Fatal(err)
	}
	r := &reloadable{administered: newAdministered(t), file: filepath.Join(folder, "wireline.yaml")}
	r.process = launch(t, "wireline", "--config="+r.file, "--admin.address="+r.side)
	r.addr = r.await("msg", "listening")["addr"]
	conn := r.dial()
	echoes(t, conn, "hello\n")

	version("..2", base+"echo: {max_line: 5}\n")
	if e := r.reloaded(1); e["keys"] != "echo.max_line" || e["trigger"] != "watch" {
		t.Errorf("%v", e)
	}
	version("..3", base+"echo: {max_lines: 5}\n")
	if e := r.reloaded(2); e["level"] != "ERROR" {
		t.Errorf("%v", e)
	}
	if err := os.RemoveAll(filepath.Join(folder, "..3")); err != nil {
		t.Fatal(err)
	}
	r.await("msg", "configuration file cannot be read")
	version("..4", base)
	if e := r.reloaded(3); e["keys"] != "echo.max_line" {
		t.Errorf("%v", e)
	}
	r.await("msg", "configuration file can be read again")
	version("..5", strings.Replace(base, "true", "false", 1))
	if e := r.reloaded(4); e["keys"] != "reload.watch" {
		t.Errorf("%v", e)
	}
	echoes(t, conn, "still there\n")
	r.stop()
	if n := len(r.reloads()); n != 4 {
		t.Errorf("%d reloads, want 4", n)
	}
	if n := len(r.find("msg", "configuration file cannot be read")); n != 1 {
		t.Errorf("%d lines about the missing file", n)
	}
}

// Many signals and requests at the same time, also while the program stops.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	r := startReloadable(t, 1, "tcp: {address: '127.0.0.1:0', drain_timeout: 5m}\necho: {max_line: 8MiB, write_timeout: 10m}\n")
	conn := r.dial()
	storm := func(n int) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				for j := range 10 {
					r.cmd.Process.Signal(syscall.SIGHUP)
					name := fmt.Sprintf("%s.%d", r.file, i)
					text := fmt.Sprintf("tcp: {address: '127.0.0.1:0', drain_timeout: 5m, max_clients: %d}\necho: {max_line: 8MiB, write_timeout: 10m}\n", 10+i+j)
					if os.WriteFile(name, []byte(text), 0o600) != nil || os.Rename(name, r.file) != nil {
						t.Error("the file cannot be written")
					}
					if resp, err := r.http.Post("http://localhost/api/reload", "", nil); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
			})
		}
		all.Wait()
	}
	storm(8)
	echoes(t, conn, "still there\n")
	for _, e := range r.reloads() {
		if e["level"] == "ERROR" {
			t.Errorf("%v", e)
		}
	}
	stalled := r.stall()
	r.signal(syscall.SIGTERM)
	r.await("msg", "draining")
	if status, _, problem := r.post(); status != http.StatusUnprocessableEntity || !strings.Contains(problem, "about to stop") {
		t.Errorf("in the drain: %d %s", status, problem)
	}
	storm(2)
	rest, err := io.ReadAll(stalled)
	if err != nil || len(rest) != longReply-1 {
		t.Errorf("%d bytes of the reply, %v", len(rest), err)
	}
	stalled.Close()
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// An upstream whose name has no address is served with a warning, at the start and after a reload.
func TestReloadWarnsOfUpstreams(t *testing.T) {
	t.Parallel()
	const text = "handler: proxy\ntcp: {address: '127.0.0.1:0'}\nproxy: {upstreams: 'nohost%s.invalid:1'}\n"
	r := startReloadable(t, 1, fmt.Sprintf(text, ""))
	warned := func(name string) {
		t.Helper()
		for _, e := range r.log() {
			if e["level"] == "WARN" && strings.HasPrefix(e["err"], "proxy.upstreams: file "+r.file+`: "`+name) {
				return
			}
		}
		t.Errorf("no warning of %s in\n%s", name, r.stderr.String())
	}
	warned("nohost.invalid:1")
	r.write(t, fmt.Sprintf(text, "2"))
	if e := r.hup(); e["msg"] != "reloaded" {
		t.Errorf("%v", e)
	}
	warned("nohost2.invalid:1")
	r.stop()
}
