package config_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/config"
	"wireline/internal/app"
)

// printed returns what --print-config writes.
func printed(t testing.TB, loaded interface{ Print(io.Writer) error }) string {
	t.Helper()
	var b bytes.Buffer
	if err := loaded.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrint(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "wireline.toml", "[tcp]\nmax_clients = 100\naccept_rate = 2.5\n[echo]\nidle_timeout = '90m'\n")
	loaded, err := load(
		[]string{"--config=wireline.toml", "--print-config", "--tcp.network=unix", "--tcp.address", "@abstract", "--tcp.drain_timeout=0", "--log.connections", "0"},
		[]string{"WIRELINE_LOG_LEVEL=debug", "WIRELINE_ECHO_MAX_LINE=1048576", "WIRELINE_TCP_MAX_CLIENTS="})
	if err != nil {
		t.Fatal(err)
	}
	const want = `handler: echo # default
tcp:
  network: unix # flag --tcp.network
  address: '@abstract' # flag --tcp.address
  socket_mode: "" # default
  socket_group: "" # default
  max_clients: 100 # file wireline.toml
  max_clients_per_ip: 0 # default
  max_clients_per_prefix: 0 # default
  prefix_v4: 32 # default
  prefix_v6: 64 # default
  allow: [] # default
  deny: [] # default
  max_buffered: auto # default
  when_full: wait # default
  accept_rate: 2.5 # file wireline.toml
  tls:
    cert: "" # default
    key: "" # default
    certificates: [] # default
    certificate_dir: "" # default
    client_ca: "" # default
    client_auth: "" # default
    crl: "" # default
    ocsp_staple: "" # default
    min_version: "1.2" # default
    max_version: "" # default
    cipher_suites: [] # default
    curves: [] # default
    alpn: [] # default
    max_handshakes: 0 # default
  handshake_timeout: 10s # default
  proxy_protocol: off # default
  proxy_protocol_trusted: [] # default
  proxy_header_timeout: 5s # default
  drain_timeout: 0s # flag --tcp.drain_timeout
  grace_delay: 0s # default
  linger: default # default
  no_delay: true # default
  keepalive:
    enable: true # default
    idle: 15s # default
    interval: 15s # default
    count: 9 # default
  user_timeout: 0s # default
  backlog: 0 # default
  reuse_port: false # default
  fast_open: 0 # default
  defer_accept: 0s # default
  receive_buffer: 0 # default
  send_buffer: 0 # default
echo:
  max_line: 1MiB # env WIRELINE_ECHO_MAX_LINE
  idle_timeout: 1h30m # file wireline.toml
  read_timeout: 0s # default
  first_frame_timeout: 0s # default
  frame_timeout: 0s # default
  write_timeout: 30s # default
  max_lifetime: 0s # default
  limit:
    frames: 0 # default
    frame_burst: 0 # default
    bytes: 0 # default
    byte_burst: 0 # default
proxy:
  upstreams: [] # default
  balance: round_robin # default
  connect_timeout: 5s # default
  idle_timeout: 1h # default
  half_close_idle: 5m # default
  half_close_timeout: 0s # default
  drain_quiet: 100ms # default
  drain_reply: 3s # default
  pool:
    size: 0 # default
    max_idle: 1m # default
    reuse: false # default
    reuse_quiet: 20ms # default
  health:
    interval: 0s # default
    timeout: 2s # default
    rise: 2 # default
    fall: 3 # default
    retry: 10s # default
  tls:
    enable: false # default
    ca: "" # default
    cert: "" # default
    key: "" # default
    server_name: "" # default
    min_version: "1.2" # default
    insecure: false # default
  keepalive:
    enable: true # default
    idle: 15s # default
    interval: 15s # default
    count: 9 # default
  user_timeout: 0s # default
  send_proxy: off # default
log:
  level: debug # env WIRELINE_LOG_LEVEL
  format: text # default
  connections: false # flag --log.connections
admin:
  address: "" # default
  token: "" # default
  token_file: "" # default
  hosts: [] # default
  tls:
    cert: "" # default
    key: "" # default
reload:
  watch: false # default
`
	if diff := cmp.Diff(want, printed(t, loaded)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrintLists(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "l.yaml", "more: ['a,b', '#c', 'd: e', \"f\\ng\"]\n")
	type lists struct {
		None []string `config:"none"`
		Some []string `config:"some" default:"10.0.0.7:6379, b"`
		More []string `config:"more"`
	}
	var c, again lists
	loaded, err := config.Read(&c, []string{"--config=l.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `none: [] # default
some: ['10.0.0.7:6379', b] # default
more: ['a,b', '#c', 'd: e', "f\ng"] # file l.yaml
`
	text := printed(t, loaded)
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	write(t, "again.yaml", text)
	if _, err := config.Read(&again, []string{"--config=again.yaml"}, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("read again (-first +second):\n%s", diff)
	}
}

// roundTrip proves that a configuration, printed, is the same configuration,
// that every key is on a line of its own, and that its source is on that line.
func roundTrip(t testing.TB, loaded *loaded) {
	t.Helper()
	text := printed(t, loaded)
	write(t, "printed.yaml", text)
	again, err := load([]string{"--config", "printed.yaml"}, nil)
	if err != nil {
		t.Fatalf("%v\nin what was printed:\n%s", err, text)
	}
	if diff := cmp.Diff(loaded.Config, again.Config); diff != "" {
		t.Errorf("printed and read again (-first +second):\n%s\nprinted:\n%s", diff, text)
	}
	if got, want := strings.Count(text, " # "), len(config.Keys(app.Config{})); got < want {
		t.Errorf("%d comments for %d keys:\n%s", got, want, text)
	}
	// tcp, tcp.tls, tcp.keepalive, echo, echo.limit, proxy, proxy.pool, proxy.health, proxy.tls,
	// proxy.keepalive, log, admin, admin.tls and reload have a line each.
	want := len(config.Keys(app.Config{})) + 14
	if n := len(loaded.Config.Services); n > 0 { // a line for services, and one for each name and each section
		want += 1 + n*(len(config.Keys(app.Service{}))+11)
	}
	if got := strings.Count(text, "\n"); got != want {
		t.Errorf("%d lines, want %d:\n%s", got, want, text)
	}
}

func TestPrintedIsTheSameConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, address := range []string{
		"", " ", "@abstract", "a: b", "a:", "#x", "a #x", "- a", "? a", "&a", "*a", "!a", "|", ">", "%a", "`a`", "'", `"`, `\`, `\n`,
		"{a", "[a]", "a,b", "~", "null", "true", "yes", "10", "1e3", "010", "1.20", "0x1f", ".inf", "2001-12-14", "---", "...", "<<", "=",
		"a\nb", "a\n", "\n", "\na", "a\r\nb", "\t", "a\tb ", "\x1b[1m", "\u0085", "\u2028", "\ufeff", "\ufffe", "größe", "日本語", "🙂",
		strings.Repeat("long ", 20), "# default", ":8000",
	} {
		network := "unix" // whose paths may be anything
		if address == "" || address == ":8000" {
			network = "tcp"
		}
		loaded, err := load([]string{"--tcp.network=" + network, "--tcp.address=" + address}, nil)
		if err != nil {
			t.Fatalf("%q: %v", address, err)
		}
		if loaded.Config.TCP.Address != address {
			t.Errorf("address %q, want %q", loaded.Config.TCP.Address, address)
		}
		roundTrip(t, loaded)
	}
}

func TestPrintFromFilesWithOddNames(t *testing.T) {
	t.Chdir(t.TempDir())
	tests := map[string]string{
		"a.yaml":        "# file a.yaml\n",
		"a # b: c.yaml": "# file a # b: c.yaml\n",
		" a.yaml":       `# file " a.yaml"` + "\n",
	}
	if runtime.GOOS != "windows" { // which allows no such names
		tests["a\nhandler: proxy\n# x.yaml"] = `# file "a\nhandler: proxy\n# x.yaml"` + "\n"
		tests["\x1b[1m\xff\u0085\u2028.yaml"] = `# file "\x1b[1m\xff\u0085\u2028.yaml"` + "\n"
	}
	for name, comment := range tests {
		write(t, name, "tcp: {max_clients: 7}\n")
		loaded, err := load([]string{"--config", name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text := printed(t, loaded); !strings.Contains(text, "  max_clients: 7 "+comment) {
			t.Errorf("%q: no comment %s in\n%s", name, comment, text)
		}
		roundTrip(t, loaded)
	}
}

func TestPrintSaysThatItFailed(t *testing.T) {
	loaded, err := load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Print(brokenWriter{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

// FuzzLoad proves that no file makes Load panic, that each of its problems is
// one printable line, and that what it accepts survives being printed.
func FuzzLoad(f *testing.F) {
	f.Add(0, []byte("handler: echo\ntcp:\n  address: '@a'\n  max_clients: 10\nlog: {level: debug}\n"))
	f.Add(0, []byte("tcp: &a {tcp: *a, address: *a, <<: *a}\n? [x]\n: y\n--- 5\n"))
	f.Add(0, []byte("tcp.drain_timeout: 0\necho: {max_line: !!int \"10\"}\n"))
	f.Add(0, []byte("tcp: {max_clients: 5}\nservices: {a: {tcp.address: ':1', tcp: {max_clients: 7}}, b: {handler: proxy, tcp: {address: ':2'}, proxy: {upstreams: ['127.0.0.1:1']}}, c_: }\n"))
	f.Add(1, []byte("[services.a.tcp]\naddress = ':1'\n[services.b]\nhandler = 'proxy'\n"))
	f.Add(1, []byte("handler = 'echo'\n[tcp]\nmax_clients = 10\naccept_rate = nan\n[[log]]\na = 1979-05-27\n"))
	f.Add(2, []byte(`{"tcp": {"address": "\u0000", "max_clients": 1e3}, "tcp": [null, true]}`))
	f.Fuzz(func(t *testing.T, format int, data []byte) {
		name := []string{"f.yaml", "f.toml", "f.json"}[uint(format)%3]
		t.Chdir(t.TempDir())
		write(t, name, string(data))
		loaded, err := load([]string{"--config", name}, nil)
		if err == nil {
			roundTrip(t, loaded)
			return
		}
		for _, problem := range err.(interface{ Unwrap() []error }).Unwrap() {
			if text := problem.Error(); strings.ContainsAny(text, "\n\r\x00\x1b") {
				t.Errorf("not one line: %q", text)
			}
		}
	})
}
