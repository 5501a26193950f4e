package adminctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/admin"
	"wireline/handler"
	"wireline/hub"
	"wireline/internal/adminctl"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
	"wireline/tcptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostile would clear a terminal, in two ways, and write from right to left.
const hostile = "\x1b[2J\u009b2J\u202e<b>"

// house is a server, a proxy to it, and what the commands need to reach their admin side.
type house struct {
	device, relay *tcptest.Server
	side          *admin.Server
	cfg           admin.Config
}

// start starts a server with that name, which logs nothing. It is closed at the end of the test.
func start(t testing.TB, name string, h handler.Handler) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(h)
	s.TCP.Name, s.TCP.Log = name, slog.New(slog.DiscardHandler)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{}
	h.device = start(t, "device", &handler.Frames{
		OnFrame: func(c *handler.Client, line []byte) error {
			c.SetAttr(slog.String("device", hostile))
			_, err := c.Write(append(line, '\n'))
			return err
		},
		OnRecord: func(handler.Record) {},
	})
	h.relay = start(t, "relay", &proxy.Proxy{
		Config: proxy.Config{Upstreams: []string{h.device.Addr}}, Log: slog.New(slog.DiscardHandler), OnRecord: func(handler.Record) {},
	})
	h.side = &admin.Server{Servers: []*tcp.Server{h.device.TCP, h.relay.TCP}, Version: "v1.2.3", Log: slog.New(slog.DiscardHandler)}
	web := httptest.NewServer(h.side)
	t.Cleanup(web.Close)
	h.cfg.Address = strings.TrimPrefix(web.URL, "http://")
	return h
}

func (h *house) connect(t *testing.T, s *tcptest.Server) net.Conn {
	t.Helper()
	conn := testutil.Dial(t, "tcp", s.Addr)
	conn.SetDeadline(time.Now().Add(testutil.Patience))
	tcptest.Send(t, conn, "hello\n")
	tcptest.Receive(t, conn, "hello\n")
	return conn
}

// run runs a command line and returns what it prints.
func run(cfg admin.Config, args ...string) (string, error) {
	cmd, err := adminctl.Parse(args[0], args[1:])
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	defer cancel()
	err = cmd.Run(ctx, cfg, &out)
	return out.String(), err
}

func mustRun(t *testing.T, cfg admin.Config, args ...string) string {
	t.Helper()
	out, err := run(cfg, args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	for _, r := range out {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') {
			t.Errorf("%s prints %q", strings.Join(args, " "), out)
			break
		}
	}
	return out
}

func TestConnections(t *testing.T) {
	h := newHouse(t)
	conn := h.connect(t, h.device)
	h.connect(t, h.relay)
	out := mustRun(t, h.cfg, "connections", "--service=device", "--sort=id")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "CONNECTION") || !strings.HasPrefix(lines[1], "device/1    "+conn.LocalAddr().String()) ||
		!strings.HasSuffix(lines[1], "device=?[2J?2J?<b>") {
		t.Errorf("it prints\n%s", out)
	}
	if out := mustRun(t, h.cfg, "connections", "--limit", "1"); !strings.HasSuffix(out, "\n1 of 3; see --limit\n") {
		t.Errorf("with a limit it prints\n%s", out)
	}
	var list admin.Connections
	out = mustRun(t, h.cfg, "connections", "--json", "--state=relaying")
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Total != 3 || list.Matched != 1 || list.Connections[0].Service != "relay" {
		t.Errorf("%v in\n%s", err, out)
	}
	out = mustRun(t, h.cfg, "connections", "--json", "--service=device", "--sort=id")
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Connections[0].Attrs["device"] != hostile {
		t.Errorf("%v, the attribute is %q", err, list.Connections[0].Attrs["device"])
	}
}

func TestKill(t *testing.T) {
	h := newHouse(t)
	first, second, third := h.connect(t, h.device), h.connect(t, h.device), h.connect(t, h.relay)
	if out := mustRun(t, h.cfg, "kill", "device/1"); out != "1 ended\n" {
		t.Errorf("it prints %q", out)
	}
	tcptest.ReceiveAll(t, first, "")
	if out := mustRun(t, h.cfg, "kill", "--service=relay", "--reset", "--json"); out != "{\n  \"ended\": 1\n}\n" {
		t.Errorf("it prints %q", out)
	}
	tcptest.ReceiveReset(t, third)
	tcptest.Send(t, second, "hello\n")
	tcptest.Receive(t, second, "hello\n")
	if out, err := run(h.cfg, "kill", "device/77", "device/2"); err == nil || !strings.Contains(err.Error(), "no such connection") || out != "1 ended\n" {
		t.Errorf("one of two: %q, %v", out, err)
	}
	for _, empty := range [][]string{{"kill", "--service=device", "--peer="}, {"kill", "--service="}, {"connections", "--state="}} {
		if out, err := run(h.cfg, empty...); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%v: %q, %v", empty, out, err)
		}
	}
	for _, bad := range [][]string{{"kill"}, {"kill", "device"}, {"kill", "device/1", "--peer=::1"}} {
		if _, err := run(h.cfg, bad...); !errors.Is(err, adminctl.ErrUsage) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// The name of a service may have a slash.
func TestKillInServiceWithSlash(t *testing.T) {
	h := newHouse(t)
	device := start(t, "hall/1", h.device.TCP.Handler)
	h.side.Servers = append(h.side.Servers, device.TCP)
	conn := h.connect(t, device)
	if out := mustRun(t, h.cfg, "kill", "hall/1/1"); out != "1 ended\n" {
		t.Errorf("it prints %q", out)
	}
	tcptest.ReceiveAll(t, conn, "")
}

func TestUpstreams(t *testing.T) {
	h := newHouse(t)
	h.connect(t, h.relay)
	name := h.device.Addr
	if out := mustRun(t, h.cfg, "upstreams"); !strings.Contains(out, "relay    "+name) {
		t.Errorf("it prints\n%s", out)
	}
	mustRun(t, h.cfg, "upstreams", "relay", name, "drain", "weight=5")
	var list admin.Upstreams
	out := mustRun(t, h.cfg, "upstreams", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Upstreams[0].State != proxy.UpstreamDrain || list.Upstreams[0].Weight != 5 {
		t.Errorf("%v in\n%s", err, out)
	}
	if _, err := run(h.cfg, "upstreams", "relay", "nothing:1", "up"); err == nil || !strings.Contains(err.Error(), "no such upstream") {
		t.Errorf("an upstream that is not there: %v", err)
	}
	for _, bad := range [][]string{{"upstreams", "relay"}, {"upstreams", "relay", name}, {"upstreams", "relay", name, "weight=x"}} {
		if _, err := run(h.cfg, bad...); !errors.Is(err, adminctl.ErrUsage) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestReload(t *testing.T) {
	h := newHouse(t)
	if _, err := run(h.cfg, "reload"); err == nil || !strings.Contains(err.Error(), "no configuration file") {
		t.Errorf("without a file: %v", err)
	}
	var result admin.ReloadResult
	var problem error
	h.side.Reload = func(context.Context) (admin.ReloadResult, error) { return result, problem }
	if out := mustRun(t, h.cfg, "reload"); out != "nothing has changed\n" {
		t.Errorf("it prints %q", out)
	}
	result.Kept = []string{"admin.address"}
	if out := mustRun(t, h.cfg, "reload"); out != "cannot change until a restart: admin.address\nnothing has changed\n" {
		t.Errorf("it prints %q", out)
	}
	result = admin.ReloadResult{Changed: []string{"tcp.max_clients", "tcp.deny"}, Added: []string{"a"}, Removed: []string{"b"}}
	if out := mustRun(t, h.cfg, "reload"); out != "changed: tcp.max_clients\nchanged: tcp.deny\nadded service: a\nremoved service, which drains: b\n" {
		t.Errorf("it prints %q", out)
	}
	if out := mustRun(t, h.cfg, "reload", "--json"); !strings.Contains(out, "\"kept\": []") || !strings.Contains(out, `"tcp.deny"`) {
		t.Errorf("it prints %q", out)
	}
	problem = errors.New(hostile)
	if _, err := run(h.cfg, "reload"); err == nil || strings.ContainsAny(err.Error(), "\x1b\u009b\u202e") || !strings.Contains(err.Error(), "422") {
		t.Errorf("a reload that fails: %v", err)
	}
	problem = errors.New("a: is " + hostile + "\nb: is bad")
	if _, err := run(h.cfg, "reload"); err == nil || strings.Contains(err.Error(), "\x1b") || !strings.HasSuffix(err.Error(), "\nb: is bad") {
		t.Errorf("a reload with two problems: %v", err)
	}
	if _, err := run(h.cfg, "reload", "x.yaml"); !errors.Is(err, adminctl.ErrUsage) {
		t.Errorf("with an argument: %v", err)
	}
}

// top shows the hubs, if there are any, and the keys of connections.
func TestHubsInTop(t *testing.T) {
	h := newHouse(t)
	if out := mustRun(t, h.cfg, "top"); strings.Contains(out, "HUB") {
		t.Errorf("there is no hub:\n%s", out)
	}
	fleet := &hub.Hub{Name: "fleet"}
	server := start(t, "fleet", &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		if err := fleet.Join(c, string(line)); err != nil {
			return err
		}
		return c.WriteFrame(line)
	}, OnRecord: func(handler.Record) {}})
	h.side.Servers, h.side.Hubs = append(h.side.Servers, server.TCP), []*hub.Hub{fleet}
	h.connect(t, server)
	out := mustRun(t, h.cfg, "top")
	if !regexp.MustCompile(`\nHUB .*\nfleet +1 +0 +1 +0 +0 +0 +0 +0\n`).MatchString(out) || !strings.Contains(out, "key=hello rooms=0\n") {
		t.Errorf("the hub or the key of its client is missing:\n%s", out)
	}
}

// Where there is no terminal, top prints one screen of text.
func TestTopAsText(t *testing.T) {
	h := newHouse(t)
	h.connect(t, h.relay)
	out := mustRun(t, h.cfg, "top")
	for _, want := range []string{"wireline v1.2.3", "\nSERVICE", "\ndevice   ", "\nrelay    ", "\n2 connections\n", "\nrelay/1 "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "device   ") && len(strings.Fields(line)) != 10 {
			t.Errorf("the service has no rates: %s", line)
		}
	}
	if _, err := run(h.cfg, "top", "--every=1ms"); !errors.Is(err, adminctl.ErrUsage) {
		t.Errorf("--every=1ms: %v", err)
	}
}

// The ways to reach the admin side: a unix socket, a token, TLS.
func TestWays(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := testutil.NewAuthority(t)
	cert, key := authority.Issue(t, "admin.example")
	other, _ := authority.Issue(t, "admin.example")
	certFile, keyFile, otherFile := file("cert", cert), file("key", key), file("other", other)
	for name, cfg := range map[string]admin.Config{
		"unix":       {Address: "unix:" + testutil.SocketPath(t)},
		"token":      {Address: "127.0.0.1:0", Token: "s3cret"},
		"token file": {Address: "127.0.0.1:0", TokenFile: file("token", []byte("s3cret\n"))},
		"TLS":        {Address: "127.0.0.1:0", TLS: admin.TLS{Cert: certFile, Key: keyFile}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "unix" && runtime.GOOS == "windows" {
				t.Skip("no unix sockets in tests on Windows")
			}
			h := newHouse(t)
			h.side = &admin.Server{Config: cfg, Servers: h.side.Servers, Log: h.side.Log}
			ctx, cancel := context.WithCancel(t.Context())
			ln, err := h.side.Listen(ctx)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- h.side.Serve(ctx, ln) }()
			t.Cleanup(func() {
				cancel()
				if err := testutil.Await(t, "the end of Serve", done); err != nil {
					t.Error(err)
				}
			})
			if name != "unix" {
				cfg.Address = ln.Addr().String()
			}
			if out := mustRun(t, cfg, "upstreams"); !strings.Contains(out, "relay") {
				t.Errorf("it prints\n%s", out)
			}
			wrong := cfg
			switch name {
			case "unix":
				wrong.Address += "x"
			case "TLS":
				wrong.TLS.Cert = otherFile
			default:
				wrong.Token, wrong.TokenFile = "wrong", ""
			}
			if out, err := run(wrong, "upstreams"); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the wrong way: %q, %v", out, err)
			}
		})
	}
}

// The address may be what a URL cannot have: without a host, or of every interface.
func TestAddresses(t *testing.T) {
	h := newHouse(t)
	_, port, err := net.SplitHostPort(h.cfg.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{":" + port, "localhost:" + port, "0.0.0.0:" + port} {
		if out := mustRun(t, admin.Config{Address: address}, "upstreams"); !strings.Contains(out, "relay") {
			t.Errorf("%s: it prints\n%s", address, out)
		}
	}
}

func TestParse(t *testing.T) {
	if _, err := run(admin.Config{}, "top"); err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Errorf("without an address: %v", err)
	}
	cmd, err := adminctl.Parse("kill", []string{"--config", "x.yaml", "--admin.address=127.0.0.1:1", "device/1"})
	if err != nil || strings.Join(cmd.ConfigArgs, " ") != "--config=x.yaml --admin.address=127.0.0.1:1" {
		t.Errorf("the arguments for the configuration are %q, %v", cmd.ConfigArgs, err)
	}
	for _, bad := range [][]string{{"top", "--nothing"}, {"connections", "device/1"}, {"connections", "--limit=x"}, {"top", "--every=soon"}} {
		if _, err := adminctl.Parse(bad[0], bad[1:]); !errors.Is(err, adminctl.ErrUsage) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, name := range []string{"connections", "upstreams", "kill", "reload", "top"} {
		cmd, err := adminctl.Parse(name, []string{"--help"})
		if err != nil || !strings.Contains(cmd.Usage, "wireline "+name) || strings.Contains(cmd.Usage, " \n") || !adminctl.IsCommand(name) {
			t.Errorf("%s --help: %v", name, err)
		}
	}
	if adminctl.IsCommand("--help") || adminctl.IsCommand("serve") {
		t.Error("a command that is none")
	}
}

// An answer that is no JSON, such as one of another program, is an error of one line.
func TestForeignAnswer(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "\x1b[31mI am\nno admin side")
	}))
	defer web.Close()
	_, err := run(admin.Config{Address: strings.TrimPrefix(web.URL, "http://")}, "upstreams")
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || !strings.Contains(err.Error(), "418") {
		t.Errorf("%v", err)
	}
}
