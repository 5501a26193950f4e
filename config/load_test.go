package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/config"
	"wireline/echo"
	"wireline/handler"
	"wireline/internal/app"
	"wireline/lib/field"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// defaults is the configuration that nothing was set in.
func defaults() app.Config {
	return app.Config{Service: app.Service{
		Handler: "echo",
		TCP: tcp.Config{
			Network: "tcp", Address: ":8000", PrefixV4: 32, PrefixV6: 64, WhenFull: tcp.FullWait, DrainTimeout: 8 * time.Second,
			TLS: tcp.TLSFiles{MinVersion: "1.2"}, HandshakeTimeout: 10 * time.Second,
			ProxyProtocol: tcp.ProxyProtocolOff, ProxyHeaderTimeout: 5 * time.Second,
			Socket: tcp.Socket{KeepAlive: tcp.KeepAlive{Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9}},
		},
		Echo: echo.Config{MaxLine: 64 << 10, WriteTimeout: 30 * time.Second},
		Proxy: proxy.Config{
			Balance: proxy.BalanceRoundRobin, ConnectTimeout: 5 * time.Second, IdleTimeout: time.Hour, HalfCloseIdle: 5 * time.Minute, DrainQuiet: 100 * time.Millisecond, DrainReply: 3 * time.Second,
			KeepAlive: proxy.KeepAlive{Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9},
			Pool:      proxy.PoolConfig{MaxIdle: time.Minute, ReuseQuiet: 20 * time.Millisecond},
			Health:    proxy.HealthConfig{Timeout: 2 * time.Second, Rise: 2, Fall: 3, Retry: 10 * time.Second},
			TLS:       proxy.TLS{MinVersion: "1.2"},
			SendProxy: proxy.SendProxyOff,
		},
	},
		Log: logger.Config{Level: "info", Format: "text", Connections: true},
	}
}

func TestLoad(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.yaml", "tcp: {address: ':1', max_clients: 1}\nlog: {level: debug}\n")
	write(t, "b.yml", "tcp.address: ':2'\n") // the dotted name does as well
	write(t, "empty.yaml", "# nothing\n")
	write(t, "hollow.yaml", "tcp:\n  # address: :9\nlog:\n  level: warn\n")
	write(t, "empty.toml", "")
	write(t, "null.json", "null")
	write(t, "windows.JSON", "\ufeff{\"handler\": \"echo\",\r\n\"tcp\": {\"max_clients\": 3}}\r\n")
	write(t, "alias.yaml", "log: {level: &l debug}\ntcp: {network: unix, address: *l}\n")

	tests := []struct {
		name    string
		args    string
		environ []string
		change  func(c *app.Config)
		linux   bool // sets what only Linux has
	}{
		{name: "nothing", change: func(*app.Config) {}},
		{
			name: "a file by flag", args: "--config a.yaml",
			change: func(c *app.Config) { c.TCP.Address, c.TCP.MaxClients, c.Log.Level = ":1", 1, "debug" },
		},
		{
			name: "a file by env", environ: []string{"WIRELINE_CONFIG=b.yml"},
			change: func(c *app.Config) { c.TCP.Address = ":2" },
		},
		{
			name: "the flag's file instead of env's", args: "--config=a.yaml", environ: []string{"WIRELINE_CONFIG=missing.yaml"},
			change: func(c *app.Config) { c.TCP.Address, c.TCP.MaxClients, c.Log.Level = ":1", 1, "debug" },
		},
		{
			name: "one key from each source", args: "--config a.yaml --tcp.max_clients 3",
			environ: []string{"WIRELINE_TCP_MAX_CLIENTS=2", "WIRELINE_TCP_ADDRESS=:2"},
			change:  func(c *app.Config) { c.TCP.Address, c.TCP.MaxClients, c.Log.Level = ":2", 3, "debug" },
		},
		{name: "an empty file", args: "--config empty.yaml", change: func(*app.Config) {}},
		{name: "an empty TOML file", args: "--config empty.toml", change: func(*app.Config) {}},
		{name: "JSON's null", args: "--config null.json", change: func(*app.Config) {}},
		{name: "a section without keys", args: "--config hollow.yaml", change: func(c *app.Config) { c.Log.Level = "warn" }},
		{name: "a byte order mark", args: "--config windows.JSON", change: func(c *app.Config) { c.TCP.MaxClients = 3 }},
		{
			name: "an alias", args: "--config alias.yaml",
			change: func(c *app.Config) { c.TCP.Network, c.TCP.Address, c.Log.Level = "unix", "debug", "debug" },
		},
		{
			name: "an empty variable is none", args: "--config a.yaml",
			environ: []string{"WIRELINE_TCP_ADDRESS=", "WIRELINE_TCP_MAX_CLIENTS=", "WIRELINE_LOG_LEVEL="},
			change:  func(c *app.Config) { c.TCP.Address, c.TCP.MaxClients, c.Log.Level = ":1", 1, "debug" },
		},
		{name: "an empty WIRELINE_CONFIG too", environ: []string{"WIRELINE_CONFIG="}, change: func(*app.Config) {}},
		{
			name: "an empty flag sets the empty string", args: "--tcp.address=", environ: []string{"WIRELINE_TCP_ADDRESS=:1"},
			change: func(c *app.Config) { c.TCP.Address = "" },
		},
		{
			name: "the last of a flag counts", args: "--tcp.max_clients x --tcp.max_clients=2",
			change: func(c *app.Config) { c.TCP.MaxClients = 2 },
		},
		{
			name: "a value with one dash, and one with two", args: "--tcp.network=unix --tcp.address -x --log.level=info",
			change: func(c *app.Config) { c.TCP.Network, c.TCP.Address = "unix", "-x" },
		},
		{
			name: "a bool by flag", args: "--log.connections false",
			change: func(c *app.Config) { c.Log.Connections = false },
		},
		{
			name: "bare bools", args: "--proxy.tls.enable --tcp.keepalive.enable false --tcp.no_delay --log.connections --log.connections",
			change: func(c *app.Config) {
				c.Proxy.TLS.Enable, c.TCP.Socket.KeepAlive.Enable, c.TCP.Socket.NoDelay = true, tcp.SwitchOff, tcp.SwitchOn
				c.Proxy.KeepAlive.Enable = tcp.SwitchOff // as the client's side
			},
		},
		{
			name: "drain_timeout 0 cuts at once", environ: []string{"WIRELINE_TCP_DRAIN_TIMEOUT=0"},
			change: func(c *app.Config) { c.TCP.DrainTimeout = -1 },
		},
		{
			name: "idle_timeout 0 is never", environ: []string{"WIRELINE_PROXY_IDLE_TIMEOUT=0", "WIRELINE_PROXY_HALF_CLOSE_IDLE=0"},
			change: func(c *app.Config) { c.Proxy.IdleTimeout, c.Proxy.HalfCloseIdle = -1, -1 },
		},
		{
			name: "write_timeout 0 is never", environ: []string{"WIRELINE_ECHO_WRITE_TIMEOUT=0"},
			change: func(c *app.Config) { c.Echo.WriteTimeout = -1 },
		},
		{
			name: "drain_reply 0 does not wait", environ: []string{"WIRELINE_PROXY_DRAIN_REPLY=0"},
			change: func(c *app.Config) { c.Proxy.DrainReply = -1 },
		},
		{
			name: "what is on by default", args: "--tcp.no_delay=false --tcp.keepalive.enable=false",
			change: func(c *app.Config) {
				c.TCP.Socket.NoDelay, c.TCP.Socket.KeepAlive.Enable = tcp.SwitchOff, tcp.SwitchOff
				c.Proxy.KeepAlive.Enable = tcp.SwitchOff
			},
		},
		{
			name: "socket options", args: "--tcp.linger=5s --tcp.keepalive.idle=1m --tcp.user_timeout=1500ms --tcp.send_buffer=64KiB", linux: true,
			change: func(c *app.Config) {
				c.TCP.Linger, c.TCP.Socket.KeepAlive.Idle = handler.CloseWithin(5*time.Second), time.Minute
				c.TCP.Socket.UserTimeout, c.TCP.Socket.SendBuffer = 1500*time.Millisecond, 64<<10
				c.Proxy.KeepAlive.Idle, c.Proxy.UserTimeout = time.Minute, 1500*time.Millisecond
			},
		},
		{
			name: "variables of others", environ: []string{"HOME=/x", "WIRELINE=1", "wireline_handler=x", "WIRELINEX=2", "=C:=x", ""},
			change: func(*app.Config) {},
		},
		{
			name: "Kubernetes services called wireline and wireline-admin",
			environ: []string{
				"WIRELINE_SERVICE_HOST=10.0.0.1", "WIRELINE_SERVICE_PORT=8000", "WIRELINE_SERVICE_PORT_LINES=8000",
				"WIRELINE_PORT=tcp://10.0.0.1:8000", "WIRELINE_PORT_8000_TCP=tcp://10.0.0.1:8000",
				"WIRELINE_PORT_8000_TCP_PROTO=tcp", "WIRELINE_PORT_8000_TCP_PORT=8000", "WIRELINE_PORT_8000_TCP_ADDR=10.0.0.1",
				"WIRELINE_ADMIN_SERVICE_HOST=10.0.0.2", "WIRELINE_ADMIN_PORT_53_UDP=udp://10.0.0.2:53",
			},
			change: func(*app.Config) {},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.linux && runtime.GOOS != "linux" {
				t.Skip("Linux has these options")
			}
			want := defaults()
			test.change(&want)
			got, err := load(strings.Fields(test.args), test.environ)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Config); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadLeavesItsArgumentsAlone(t *testing.T) {
	args := []string{"-h", "--handler", "echo", "--check"}
	environ := []string{"WIRELINE_LOG_LEVEL=info", "WIRELINE_HANDLER=echo"}
	wantArgs, wantEnviron := slices.Clone(args), slices.Clone(environ)
	for range 2 {
		if _, err := load(args, environ); err != nil {
			t.Fatal(err)
		}
		args, wantArgs = args[1:], wantArgs[1:] // once for help, once for the rest
	}
	if diff := cmp.Diff([][]string{wantArgs, wantEnviron}, [][]string{args, environ}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAction(t *testing.T) {
	broken := []string{"WIRELINE_CONFIG=missing.yaml", "WIRELINE_FOO=1", "WIRELINE_TCP_MAX_CLIENTS=ten"}
	tests := []struct {
		args    string
		environ []string
		want    config.Action
	}{
		{"", nil, config.Serve},
		{"--check", nil, config.Check},
		{"--check=false", nil, config.Serve},
		{"--print-config --handler echo", nil, config.Print},
		{"--print-config --check", nil, config.Print},
		{"--version --check", broken, config.Version},
		{"--help --version", broken, config.Help},
		{"-h", broken, config.Help},
		{"--no-such-flag --tcp.max_clients ten arg --help", broken, config.Help},
	}
	for _, test := range tests {
		got, err := load(strings.Fields(test.args), test.environ)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
		} else if got.Action != test.want {
			t.Errorf("%s: action %v, want %v", test.args, got.Action, test.want)
		}
	}
}

// noFile is the system's text for a file that does not exist.
var noFile = syscall.ENOENT.Error()

func TestLoadErrors(t *testing.T) {
	const options = " --config wireline.yaml"
	tests := []struct {
		name    string
		args    string
		environ []string
		file    string // wireline.yaml, wireline.toml and wireline.json
		want    []string
		linux   bool // sets what only Linux has
	}{
		// Keys that do not exist.
		{
			name: "unknown in the file", args: options,
			file: "foo: 1\ntcp: {max_client: 5, '': 6}\nHandler: echo\nLOG: {level: info}\nlevel: info\n" +
				"<<: {handler: echo}\n\"a\\nb\": 5\n? [handler]\n: echo\n",
			want: []string{
				`foo: file wireline.yaml: unknown key`,
				`tcp.max_client: file wireline.yaml: unknown key (did you mean tcp.max_clients?)`,
				`tcp.: file wireline.yaml: unknown key (did you mean tcp?)`,
				`Handler: file wireline.yaml: unknown key (did you mean handler?)`,
				`LOG: file wireline.yaml: unknown key (did you mean log?)`,
				`level: file wireline.yaml: unknown key (did you mean log.level?)`,
				`<<: file wireline.yaml: unknown key`,
				`"a\nb": file wireline.yaml: unknown key`,
				`"": file wireline.yaml: unknown key`,
			},
		},
		{
			name: "unknown below a key and in a section that does not exist", args: options,
			file: "handler: {name: echo}\nfoo: {a: {b: 1}}\n",
			want: []string{
				`handler: file wireline.yaml: is a section, and must be a single value`,
				`foo: file wireline.yaml: unknown key`,
			},
		},
		{
			name: "unknown variable", environ: []string{
				"WIRELINE_TCP_MAX_CLIENT=5", "WIRELINE_MAX_CLIENTS=5", "WIRELINE_ZZZ=", "WIRELINE_tcp_address=:1", "WIRELINE_=1",
				"WIRELINE_TCP_PORT=9000", "WIRELINE_A\nB=1",
			},
			want: []string{
				`env WIRELINE_: unknown variable`,
				`env "WIRELINE_A\nB": unknown variable`,
				`env WIRELINE_MAX_CLIENTS: unknown variable (did you mean WIRELINE_TCP_MAX_CLIENTS?)`,
				`env WIRELINE_TCP_MAX_CLIENT: unknown variable (did you mean WIRELINE_TCP_MAX_CLIENTS?)`,
				`env WIRELINE_TCP_PORT: unknown variable`,
				`env WIRELINE_ZZZ: unknown variable`,
				`env WIRELINE_tcp_address: unknown variable (did you mean WIRELINE_TCP_ADDRESS?)`,
			},
		},
		{
			name: "unknown flags", args: "--tcp.max_client 5 --foo --bar=x -check -x --Handler=echo -test.v --log.level loud",
			want: []string{
				`flag --tcp.max_client: unknown flag (did you mean --tcp.max_clients?)`,
				`flag --foo: unknown flag`,
				`flag --bar: unknown flag`,
				`flag -check: unknown flag (did you mean --check?)`,
				`flag -x: unknown flag`,
				`flag --Handler: unknown flag (did you mean --handler?)`,
				`flag -test.v: unknown flag`,
				`log.level: flag --log.level: "loud" must be debug, info, warn or error`,
			},
		},
		{
			name: "arguments", args: "serve --handler echo - -- --check=x",
			want: []string{
				`argument serve: only flags are known, such as --handler echo`,
				`argument -: only flags are known, such as --handler echo`,
				`argument --: only flags are known, such as --handler echo`,
				`flag --check: "x" is not true or false`,
			},
		},
		{
			name: "flags without a value", args: "--tcp.address --echo.max_line --config",
			want: []string{
				`tcp.address: flag --tcp.address: needs a value`,
				`echo.max_line: flag --echo.max_line: needs a value`,
				`config: flag --config: needs a value`,
			},
		},

		// Values that cannot be read.
		{
			name: "bad values in the file", args: options,
			file: "tcp: {max_clients: ten, max_clients_per_ip: 99999999999999999999, accept_rate: .nan, drain_timeout: 10, grace_delay: -5s}\n" +
				"echo: {max_line: 64KB, idle_timeout: soon, frame_timeout: [1s], write_timeout: }\n" +
				"log: {connections: maybe, level: !mine info, format: !!binary eA==}\n",
			want: []string{
				`echo.frame_timeout: file wireline.yaml: is a list, and must be a single value`,
				`echo.write_timeout: file wireline.yaml: has no value`,
				`log.level: file wireline.yaml: has the tag !mine, and must be plain text`,
				`log.format: file wireline.yaml: has the tag !!binary, and must be plain text`,
				`tcp.max_clients: file wireline.yaml: "ten" is not a whole number`,
				`tcp.max_clients_per_ip: file wireline.yaml: "99999999999999999999" is out of range`,
				`tcp.accept_rate: file wireline.yaml: ".nan" is not a number`,
				`tcp.drain_timeout: file wireline.yaml: "10" has no unit, write 10s or 5m`,
				`tcp.grace_delay: file wireline.yaml: "-5s" must not be negative`,
				`echo.max_line: file wireline.yaml: "64KB" is not a size such as 65536, 64KiB, 1MiB or 1GiB`,
				`echo.idle_timeout: file wireline.yaml: "soon" is not a duration such as 10s or 1m30s`,
				`log.connections: file wireline.yaml: "maybe" is not true or false`,
			},
		},
		{
			name: "bad values in every source", args: options + " --tcp.max_clients=",
			environ: []string{"WIRELINE_TCP_MAX_CLIENTS=ten", "WIRELINE_TCP_DRAIN_TIMEOUT=-1s", "WIRELINE_LOG_FORMAT=\xff"},
			file:    "tcp: {max_clients: 1.5}\n",
			want: []string{
				`tcp.max_clients: file wireline.yaml: "1.5" is not a whole number`,
				`log.format: env WIRELINE_LOG_FORMAT: "\xff" is not UTF-8 text`,
				`tcp.drain_timeout: env WIRELINE_TCP_DRAIN_TIMEOUT: "-1s" must not be negative`,
				`tcp.max_clients: env WIRELINE_TCP_MAX_CLIENTS: "ten" is not a whole number`,
				`tcp.max_clients: flag --tcp.max_clients: "" is not a whole number`,
			},
		},
		{
			name: "a key gets no second complaint from Validate", args: options + " --tcp.max_clients ten", file: "tcp: {max_clients: -1}\n",
			want: []string{`tcp.max_clients: flag --tcp.max_clients: "ten" is not a whole number`},
		},
		{
			name: "a bad value that a stronger source covers", args: options + " --log.connections true",
			file: "log: {connections: maybe}\n",
			want: []string{`log.connections: file wireline.yaml: "maybe" is not true or false`},
		},
		{
			name: "TOML", args: "--config wireline.toml",
			file: "handler = 1979-05-27\n[tcp]\nmax_clients = 10.0\naccept_rate = inf\n[[log]]\nlevel = 'info'\n",
			want: []string{
				`log: file wireline.toml: is a section, and needs keys below it`,
				`tcp.accept_rate: file wireline.toml: "+Inf" is not a number`,
				`tcp.max_clients: file wireline.toml: "10.0" is not a whole number`,
				`handler: file wireline.toml: "1979-05-27" must be echo or proxy`,
			},
		},
		{
			name: "JSON", args: "--config wireline.json",
			file: `{"tcp": {"max_clients": 9007199254740993.0, "max_clients_per_ip": null, "accept_rate": 1e999}, "log": false, "tcp": {}}`,
			want: []string{
				`tcp.max_clients_per_ip: file wireline.json: has no value`,
				`log: file wireline.json: is a section, and needs keys below it`,
				`tcp: file wireline.json: is set twice`,
				`tcp.max_clients: file wireline.json: "9007199254740993.0" is not a whole number`,
				`tcp.accept_rate: file wireline.json: "1e999" is out of range`,
			},
		},
		{
			name: "a long value is cut", environ: []string{"WIRELINE_TCP_MAX_CLIENTS=" + strings.Repeat("x", 5000)},
			want: []string{`tcp.max_clients: env WIRELINE_TCP_MAX_CLIENTS: "` + strings.Repeat("x", 100) + `..." is not a whole number`},
		},

		// Keys that are there twice, or are a section and are not.
		{
			name: "twice", args: options,
			file: "handler: echo\nhandler: echo\ntcp: {max_clients: 1}\ntcp.max_clients: 2\nlog: {}\nlog: {}\n",
			want: []string{
				`handler: file wireline.yaml: is set twice`,
				`tcp.max_clients: file wireline.yaml: is set twice`,
				`log: file wireline.yaml: is set twice`,
			},
		},
		{
			name: "sections that are none", args: options, file: "tcp: 5\nlog: [level]\n",
			want: []string{
				`tcp: file wireline.yaml: is a section, and needs keys below it`,
				`log: file wireline.yaml: is a section, and needs keys below it`,
			},
		},
		{
			name: "a file without keys", args: options, file: "- handler\n",
			want: []string{`file wireline.yaml: does not contain keys and values`},
		},
		{
			name: "an alias of what it is in", args: options, file: "tcp: &a\n  tcp: *a\n  address: *a\n",
			want: []string{
				`tcp.tcp: file wireline.yaml: unknown key (did you mean tcp.tls?)`,
				`tcp.address: file wireline.yaml: is a section, and must be a single value`,
			},
		},

		// Files that cannot be read; nothing is said about values then.
		{
			name: "missing, by flag", args: "--config missing.yaml --log.level loud --log.connections maybe",
			want: []string{
				`config: flag --config: missing.yaml: ` + openError("missing.yaml"),
				`log.connections: flag --log.connections: "maybe" is not true or false`,
			},
		},
		{
			name: "missing, by env", environ: []string{"WIRELINE_CONFIG=a\nb.yaml"},
			want: []string{`config: env WIRELINE_CONFIG: "a\nb.yaml": ` + openError("a\nb.yaml")},
		},
		{
			name: "a directory", args: "--config directory.yaml",
			want: []string{`config: flag --config: directory.yaml: is a directory`},
		},
		{
			name: "unknown extension", args: "--config wireline.conf",
			want: []string{`config: flag --config: wireline.conf: unknown extension ".conf", must be .yaml, .yml, .toml or .json`},
		},
		{
			name: "no name", args: "--config=",
			want: []string{`config: flag --config: "": unknown extension "", must be .yaml, .yml, .toml or .json`},
		},
		{
			name: "too large", args: options, file: "#" + strings.Repeat("x", 1<<20),
			want: []string{`config: flag --config: wireline.yaml: is larger than 1 MiB`},
		},
		{
			name: "not text", args: options, file: "handler: \xff\n",
			want: []string{`config: flag --config: wireline.yaml: is not UTF-8 text`},
		},
		{
			name: "malformed YAML", args: options, file: "tcp:\n  a: b: c\n",
			want: []string{`file wireline.yaml: yaml: line 2: mapping values are not allowed in this context`},
		},
		{
			name: "two YAML documents", args: options, file: "handler: echo\n---\nhandler: echo\n",
			want: []string{`file wireline.yaml: yaml: there is a second document`},
		},
		{
			name: "malformed TOML", args: "--config wireline.toml", file: "handler = 'echo'\n[tcp\n",
			want: []string{`file wireline.toml: line 2: toml: expected character ]`},
		},
		{
			name: "twice in TOML", args: "--config wireline.toml", file: "handler = 'echo'\nhandler = 'echo'\n",
			want: []string{`file wireline.toml: toml: key handler is already defined`},
		},
		{
			name: "control characters in a decoder's words", args: "--config wireline.toml", file: "\x00",
			want: []string{"file wireline.toml: line 1: toml: invalid character at start of key: \ufffd"},
		},
		{
			name: "deep TOML", args: "--config wireline.toml", file: "handler = " + strings.Repeat("[", 1<<20-100),
			want: []string{`file wireline.toml: toml: more than 10000 brackets`},
		},
		{
			name: "deep YAML", args: options, file: "handler: " + strings.Repeat("[", 1<<20-100),
			want: []string{`file wireline.yaml: yaml: exceeded max depth of 10000`},
		},
		{
			name: "deep JSON", args: "--config wireline.json", file: strings.Repeat("[", 1<<20-100),
			want: []string{`file wireline.json: json: line 1: invalid character '[' exceeded max depth`},
		},
		{
			name: "malformed JSON", args: "--config wireline.json", file: "{\n\"handler\": echo}",
			want: []string{`file wireline.json: json: line 2: invalid character 'e' looking for beginning of value`},
		},
		{
			name: "empty JSON", args: "--config wireline.json",
			want: []string{`file wireline.json: json: line 1: unexpected end of JSON input`},
		},
		{
			name: "more after the JSON", args: "--config wireline.json", file: "{} {}",
			want: []string{`file wireline.json: json: line 1: invalid character '{' after top-level value`},
		},

		// Values that Validate refuses.
		{
			name: "out of range", args: options + " --tcp.when_full never --handler ping", file: "tcp: {max_clients: -1}\n",
			environ: []string{"WIRELINE_ECHO_MAX_LINE=2GiB", "WIRELINE_TCP_ACCEPT_RATE=-0.5", "WIRELINE_LOG_FORMAT=a\nb"},
			want: []string{
				`handler: flag --handler: "ping" must be echo or proxy`,
				`tcp.max_clients: file wireline.yaml: "-1" must not be negative`,
				`tcp.when_full: flag --tcp.when_full: "never" must be wait or refuse`,
				`tcp.accept_rate: env WIRELINE_TCP_ACCEPT_RATE: "-0.5" must be a number that is not negative`,
				`echo.max_line: env WIRELINE_ECHO_MAX_LINE: "2GiB" must be between 0 and 512 MiB`,
				`log.format: env WIRELINE_LOG_FORMAT: "a\nb" must be text or json`,
			},
		},
		{
			name: "a proxy without upstreams", args: "--handler proxy",
			want: []string{`proxy.upstreams: default: "" must name at least one for the handler proxy`},
		},
		{
			name: "a proxy", args: "--handler proxy --proxy.upstreams 10.0.0.7:6379,10.0.0.8 --proxy.pool.size=-1",
			environ: []string{"WIRELINE_PROXY_BALANCE=best", "WIRELINE_PROXY_HEALTH_INTERVAL=5"},
			want: []string{
				`proxy.health.interval: env WIRELINE_PROXY_HEALTH_INTERVAL: "5" has no unit, write 10s or 5m`,
				`proxy.upstreams: flag --proxy.upstreams: "10.0.0.7:6379,10.0.0.8" must be host:port or unix:PATH`,
				`proxy.balance: env WIRELINE_PROXY_BALANCE: "best" must be round_robin, least_conn, random or source_hash`,
				`proxy.pool.size: flag --proxy.pool.size: "-1" must not be negative`,
			},
		},
		{
			name: "socket options", args: "--tcp.linger 1500ms --tcp.keepalive.idle 0 --tcp.keepalive.count 0 --tcp.defer_accept 1ms --tcp.backlog=-1", linux: true,
			environ: []string{"WIRELINE_TCP_KEEPALIVE_INTERVAL=1ms"},
			want: []string{
				`tcp.linger: flag --tcp.linger: "1500ms" must be default, reset, lingering, or whole seconds from 1s to 18h`,
				`tcp.keepalive.idle: flag --tcp.keepalive.idle: "0" must be whole seconds from 1s to 9h`,
				`tcp.keepalive.interval: env WIRELINE_TCP_KEEPALIVE_INTERVAL: "1ms" must be whole seconds from 1s to 9h`,
				`tcp.keepalive.count: flag --tcp.keepalive.count: "0" must be from 1 to 127`,
				`tcp.defer_accept: flag --tcp.defer_accept: "1ms" must be whole seconds, an hour at most`,
				`tcp.backlog: flag --tcp.backlog: "-1" must not be negative, or over 1073741823`,
			},
		},
		{
			name: "socket options of a unix socket", args: "--tcp.network unix --tcp.address s --tcp.linger reset --tcp.keepalive.enable=false --tcp.fast_open 16 --tcp.backlog 8", linux: true,
			want: []string{
				`tcp.keepalive.enable: flag --tcp.keepalive.enable: "false" is not for unix sockets`,
				`tcp.linger: flag --tcp.linger: "reset" is not for unix sockets`,
				`tcp.fast_open: flag --tcp.fast_open: "16" is not for unix sockets`,
			},
		},
		{
			name: "a lingering proxy", args: "--handler proxy --proxy.upstreams 10.0.0.7:1 --tcp.linger lingering",
			want: []string{`tcp.linger: flag --tcp.linger: "lingering" is not for the handler proxy, which closes as the other side does`},
		},
		{
			name: "TLS to upstreams", args: "--handler proxy --proxy.upstreams unix:s --proxy.tls.enable=true --proxy.tls.cert a.pem --proxy.tls.ca missing.pem",
			environ: []string{"WIRELINE_PROXY_TLS_MIN_VERSION=1.1"},
			want: []string{
				`proxy.tls.min_version: env WIRELINE_PROXY_TLS_MIN_VERSION: "1.1" must be 1.2 or 1.3`,
				`proxy.tls.key: default: "" must be set, as cert is`,
				`proxy.tls.server_name: default: "" must be set for the upstream unix:s, whose address has no host`,
				`proxy.tls.ca: flag --proxy.tls.ca: "missing.pem" cannot be used: open missing.pem: ` + noFile,
				`proxy.tls.cert: flag --proxy.tls.cert: "a.pem" cannot be used: open a.pem: ` + noFile,
			},
		},
		{
			name: "TLS that is not on", args: "--handler proxy --proxy.upstreams a:1 --proxy.tls.insecure=true",
			want: []string{`proxy.tls.insecure: flag --proxy.tls.insecure: "true" has no effect without TLS: set enable`},
		},
		{
			name: "a proxy to itself", args: "--handler proxy --tcp.address :8001 --proxy.upstreams a:8001,127.0.0.1:8001 --proxy.tls.enable=true",
			want: []string{`proxy.upstreams: flag --proxy.upstreams: "a:8001,127.0.0.1:8001" must not name this server's own address, :8001`},
		},
		{
			name: "also with --check and --print-config", args: "--check --print-config --log.level=loud",
			want: []string{`log.level: flag --log.level: "loud" must be debug, info, warn or error`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.linux && runtime.GOOS != "linux" {
				t.Skip("Linux has these options")
			}
			t.Chdir(t.TempDir())
			for _, name := range []string{"wireline.yaml", "wireline.toml", "wireline.json", "wireline.conf"} {
				write(t, name, test.file)
			}
			if err := os.Mkdir("directory.yaml", 0o700); err != nil {
				t.Fatal(err)
			}
			loaded, err := load(strings.Fields(test.args), test.environ)
			if err == nil {
				t.Fatal("no error")
			}
			if loaded != nil {
				t.Error("a configuration beside the error")
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				if _, ok := e.(*config.Error); !ok {
					t.Errorf("%v is a %T", e, e)
				}
			}
		})
	}
}

// openError is what the system says of a file that does not exist.
func openError(name string) string {
	_, err := os.Open(name)
	return err.(*fs.PathError).Err.Error()
}

func TestErrorsAreForErrorsAs(t *testing.T) {
	_, err := load([]string{"--config", "missing.yaml"}, nil)
	var problem *config.Error
	if !errors.As(err, &problem) || problem.Key != "config" || problem.Source != "flag --config" {
		t.Errorf("got %#v", err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	_, err = load(nil, []string{"WIRELINE_TCP_MAX_CLIENTS=-1"})
	var bad *field.Error
	if !errors.As(err, &bad) || bad.Field != "MaxClients" {
		t.Errorf("%v is not MaxClients' error", err)
	}
}

func TestListErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	tests := []struct{ literal, want string }{
		{"[a, '']", `targets: file l.yaml: "a," has an empty item`},
		{"a,,b", `targets: file l.yaml: "a,,b" has an empty item`},
		{"[a, [b]]", `targets: file l.yaml: item 2 is a list, and must be a single value`},
		{"[null]", `targets: file l.yaml: item 1 has no value`},
		{"{a: b}", `targets: file l.yaml: is a section, and must be a single value`},
	}
	for _, test := range tests {
		write(t, "l.yaml", "targets: "+test.literal+"\n")
		var c struct {
			Targets []string `config:"targets"`
		}
		_, err := config.Read(&c, []string{"--config", "l.yaml"}, nil)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.literal, err, test.want)
		}
	}
}

// strict is a section that refuses whatever it holds.
type strict struct {
	Name   string `config:"name" default:"n"`
	Deeper struct {
		Size int `config:"size,size" default:"1KiB"`
	} `config:"deeper"`
}

func (s *strict) Validate() error {
	var e field.Errors
	e.Check(false, "Deeper.Size", s.Deeper.Size, "is never right")
	return errors.Join(
		fmt.Errorf("wrapped: %w", &field.Error{Field: "Name", Value: s.Name, Reason: "is never right"}),
		e.Err(),
		&field.Error{Field: "Gone", Value: 1, Reason: "is no field"},
		errors.New("no field's error"),
	)
}

func TestErrorsOfSectionsInSections(t *testing.T) {
	var c struct {
		Outer struct {
			Inner strict `config:"inner"`
		} `config:"outer"`
		Unused strict `config:"-"`
	}
	_, err := config.Load(&c, app.Options("", []string{"--outer.inner.deeper.size=2048"}, nil))
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		`outer.inner.name: default: "n" is never right`,
		`outer.inner.deeper.size: flag --outer.inner.deeper.size: "2048" is never right`,
		`section Outer.Inner: Gone 1: is no field`,
		`section Outer.Inner: no field's error`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
