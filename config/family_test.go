package config_test

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/config"
	"wireline/internal/app"
	"wireline/lib/field"
	"wireline/tcp"
)

// three is a file with three services, two of which inherit much.
const three = `
tcp: {address: ":9", max_clients: 50, keepalive: {idle: 20s}}
services:
  lines: {tcp: {address: "127.0.0.1:7101"}, echo: {max_line: 1KiB}}
  "other.tcp.address": 127.0.0.1:7102
  front:
    handler: proxy
    tcp: {address: "127.0.0.1:7103", max_clients: 7}
    proxy: {upstreams: ["127.0.0.1:7101"]}
`

// loadFile reads wireline.yaml in a folder of its own.
func loadFile(t *testing.T, file, args string, environ ...string) (*loaded, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "wireline.yaml", file)
	return load(append([]string{"--config=wireline.yaml"}, strings.Fields(args)...), environ)
}

func TestServices(t *testing.T) {
	l, err := loadFile(t, three, "--services.front.proxy.balance random --services.lines.tcp.no_delay=false --services.more.handler=echo",
		"WIRELINE_SERVICES_LINES_TCP_MAX_CLIENTS=60", "WIRELINE_SERVICES_FRONT_TCP_KEEPALIVE_COUNT=3", "WIRELINE_TCP_DRAIN_TIMEOUT=0",
		"WIRELINE_SERVICES_MORE_TCP_ADDRESS=:7104", "WIRELINE_SERVICES_FRONT_HANDLER=")
	if err != nil {
		t.Fatal(err)
	}
	service := func(address string, change func(s *app.Service)) app.Service {
		s := defaults().Service
		s.TCP.Address, s.TCP.MaxClients, s.TCP.DrainTimeout = address, 50, -1
		s.TCP.Socket.KeepAlive.Idle, s.Proxy.KeepAlive.Idle = 20*time.Second, 20*time.Second
		change(&s)
		return s
	}
	want := app.Config{
		Service: service(":9", func(*app.Service) {}),
		Log:     defaults().Log,
		Services: map[string]app.Service{
			"lines": service("127.0.0.1:7101", func(s *app.Service) {
				s.TCP.MaxClients, s.TCP.Socket.NoDelay, s.Echo.MaxLine = 60, tcp.SwitchOff, 1024
			}),
			"other": service("127.0.0.1:7102", func(*app.Service) {}),
			"front": service("127.0.0.1:7103", func(s *app.Service) {
				s.Handler, s.TCP.MaxClients, s.TCP.Socket.KeepAlive.Count = "proxy", 7, 3
				s.Proxy.Upstreams, s.Proxy.Balance, s.Proxy.KeepAlive.Count = []string{"127.0.0.1:7101"}, "random", 3
			}),
			"more": service(":7104", func(*app.Service) {}),
		},
	}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	text := printed(t, l)
	_, front, _ := strings.Cut(text, "  front:\n")
	front, _, _ = strings.Cut(front, "  lines:\n")
	for _, line := range []string{
		"    handler: proxy # file wireline.yaml\n",
		"      max_clients: 7 # file wireline.yaml\n",
		"      drain_timeout: 0s # as tcp.drain_timeout\n",
		"        idle: 20s # as tcp.keepalive.idle\n",
		"        idle: 20s # as services.front.tcp.keepalive.idle\n",
		"        count: 3 # env WIRELINE_SERVICES_FRONT_TCP_KEEPALIVE_COUNT\n",
		"      balance: random # flag --services.front.proxy.balance\n",
		"      connect_timeout: 5s # default\n",
	} {
		if !strings.Contains(front, line) {
			t.Errorf("no %q in\n%s", line, front)
		}
	}
	write(t, "printed.yaml", text)
	again, err := load([]string{"--config=printed.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.Config, again.Config); diff != "" {
		t.Errorf("printed and read again (-first +second):\n%s", diff)
	}
}

// Other formats of a file, and a section without services.
func TestServicesInFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.toml", "[services.a.tcp]\naddress = ':1'\nmax_clients = 3\n")
	write(t, "a.json", `{"services": {"a": {"tcp": {"address": ":1", "max_clients": 3}}}}`)
	write(t, "a.yaml", "services.a.tcp.address: ':1'\nservices: {a: {tcp.max_clients: 3}}\n")
	for _, name := range []string{"a.toml", "a.json", "a.yaml"} {
		l, err := load([]string{"--config", name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := l.Config.Services["a"]; len(l.Config.Services) != 1 || a.TCP.Address != ":1" || a.TCP.MaxClients != 3 {
			t.Errorf("%s: %+v", name, l.Config.Services)
		}
	}
	for _, file := range []string{"services:\n", "services: {}\n"} {
		write(t, "none.yaml", file)
		l, err := load([]string{"--config=none.yaml"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.Config.Services != nil {
			t.Errorf("%s: %+v", file, l.Config.Services)
		}
	}
}

func TestServicesErrors(t *testing.T) {
	for _, test := range []struct {
		name, file, args string
		environ          []string
		want             []string
		linux            bool
	}{
		{
			name: "names", file: "services: {Lines: {}, a_b: {}, 1a: {}, '': {}, größe: {}}\n",
			want: []string{
				`services.Lines: file wireline.yaml: must be a name of the letters a to z and digits, and begin with a letter`,
				`services.a_b: file wireline.yaml: must be a name of the letters a to z and digits, and begin with a letter`,
				`services.1a: file wireline.yaml: must be a name of the letters a to z and digits, and begin with a letter`,
				`services.: file wireline.yaml: must be a name of the letters a to z and digits, and begin with a letter`,
				`services.größe: file wireline.yaml: must be a name of the letters a to z and digits, and begin with a letter`,
			},
		},
		{
			name: "unknown keys", file: three + "  third: {tcp: {address: ':1', max_client: 1}, log: {level: info}}\nservices.front.log.level: debug\n",
			args:    "--services.front.tcp.adress :1 --services.nobody.tcp.typo 1",
			environ: []string{"WIRELINE_SERVICES_FRONT_PROXY_BALENCE=random", "WIRELINE_SERVICES_FRONT=1", "WIRELINE_SERVICES_=1", "WIRELINE_SERVICES_front_HANDLER=echo", "WIRELINE_SERVICES_A_SERVICE_HOST=10.0.0.1", "WIRELINE_SERVICES_A_PORT_80_TCP_ADDR=10.0.0.1"},
			want: []string{
				`services.third.tcp.max_client: file wireline.yaml: unknown key (did you mean services.third.tcp.max_clients?)`,
				`services.third.log: file wireline.yaml: unknown key`,
				`services.front.log.level: file wireline.yaml: unknown key`,
				`env WIRELINE_SERVICES_: unknown variable`,
				`env WIRELINE_SERVICES_FRONT: unknown variable`,
				`env WIRELINE_SERVICES_FRONT_PROXY_BALENCE: unknown variable (did you mean WIRELINE_SERVICES_FRONT_PROXY_BALANCE?)`,
				`env WIRELINE_SERVICES_front_HANDLER: unknown variable (did you mean WIRELINE_SERVICES_FRONT_HANDLER?)`,
				`flag --services.front.tcp.adress: unknown flag (did you mean --services.front.tcp.address?)`,
				`flag --services.nobody.tcp.typo: unknown flag (did you mean --services.nobody.tcp.tls?)`,
			},
		},
		{
			name: "no address", file: "tcp.address: ':9'\nservices: {a: {handler: echo}, b: }\n",
			want: []string{
				`services.a.tcp.address: default: must be set for each of services: it is not inherited`,
				`services.b.tcp.address: default: must be set for each of services: it is not inherited`,
			},
		},
		{
			name: "a typing error must not open a port", file: three,
			args:    "--services.othr.tcp.address=:1 --services.x.handler=echo",
			environ: []string{"WIRELINE_SERVICES_FORNT_TCP_MAX_CLIENTS=1"},
			want: []string{
				`services.fornt: env WIRELINE_SERVICES_FORNT_TCP_MAX_CLIENTS: is in no file; to add it, set services.fornt.handler and services.fornt.tcp.address (did you mean services.front?)`,
				`services.othr: flag --services.othr.tcp.address: is in no file; to add it, set services.othr.handler and services.othr.tcp.address (did you mean services.other?)`,
				`services.x: flag --services.x.handler: is in no file; to add it, set services.x.handler and services.x.tcp.address`,
			},
		},
		{
			name: "values of a service", file: three,
			args: "--services.front.proxy.upstreams nowhere --services.lines.handler ping --services.other.tcp.max_clients ten --services.other.handler proxy",
			want: []string{
				`services.other.tcp.max_clients: flag --services.other.tcp.max_clients: "ten" is not a whole number`,
				`services.front.proxy.upstreams: flag --services.front.proxy.upstreams: "nowhere" must be host:port or unix:PATH`,
				`services.lines.handler: flag --services.lines.handler: "ping" must be echo or proxy`,
				`services.other.proxy.upstreams: default: "" must name at least one for the handler proxy`,
			},
		},
		{
			name: "inherited values are blamed where they are set, once", file: three, args: "--tcp.max_clients=-1 --tcp.keepalive.idle=0 --proxy.balance=best",
			linux: true,
			want: []string{
				`tcp.keepalive.idle: flag --tcp.keepalive.idle: "0" must be whole seconds from 1s to 9h`,
				`proxy.balance: flag --proxy.balance: "best" must be round_robin, least_conn, random or source_hash`,
				`tcp.max_clients: flag --tcp.max_clients: "-1" must not be negative`,
			},
		},
		{
			name: "equal addresses", file: three, args: "--services.other.tcp.address=:7101 --services.front.tcp.address=0.0.0.0:7101",
			want: []string{
				`services.lines.tcp.address: file wireline.yaml: "127.0.0.1:7101" is an address of services.front.tcp.address, 0.0.0.0:7101`,
				`services.other.tcp.address: flag --services.other.tcp.address: ":7101" is an address of services.front.tcp.address, 0.0.0.0:7101`,
				`services.other.tcp.address: flag --services.other.tcp.address: ":7101" is an address of services.lines.tcp.address, 127.0.0.1:7101`,
				`services.front.proxy.upstreams: file wireline.yaml: "127.0.0.1:7101" must not name this server's own address, 0.0.0.0:7101`,
			},
		},
		{
			name: "a circle", file: three, args: "--services.lines.handler=proxy --services.lines.proxy.upstreams=a.example:1,localhost:7102 --services.other.handler=proxy --services.other.proxy.upstreams=127.0.0.1:7103",
			want: []string{
				`services.front.proxy.upstreams: file wireline.yaml: "127.0.0.1:7101" makes the services relay to each other: front -> lines -> other -> front`,
			},
		},
		{
			name: "a circle that does not include the first service", file: three, args: "--services.lines.handler=proxy --services.lines.proxy.upstreams=localhost:7102 --services.other.handler=proxy --services.other.proxy.upstreams=127.0.0.1:7101",
			want: []string{
				`services.lines.proxy.upstreams: flag --services.lines.proxy.upstreams: "localhost:7102" makes the services relay to each other: lines -> other -> lines`,
			},
		},
		{
			name: "a file that cannot be read has services, perhaps", file: "services: {a", args: "--services.a.tcp.max_clients=1",
			want: []string{`file wireline.yaml: yaml: line 1: did not find expected ',' or '}'`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.linux && runtime.GOOS != "linux" {
				t.Skip("Linux has these options")
			}
			_, err := loadFile(t, test.file, test.args, test.environ...)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Defaults that no service uses need not make sense together.
func TestDefaultsOfServicesAreNotAService(t *testing.T) {
	l, err := loadFile(t, "handler: proxy\ntcp: {network: unix}\nservices: {a: {tcp.address: s, proxy.upstreams: 'unix:u'}}\n", "")
	if err != nil {
		t.Fatal(err)
	}
	if a := l.Config.Services["a"]; a.Handler != "proxy" || a.TCP.Network != "unix" || a.TCP.Address != "s" {
		t.Errorf("%+v", a)
	}
}

// A running program can load again, and compare.
func TestLoadAgain(t *testing.T) {
	first, err := loadFile(t, three, "--services.front.proxy.balance random")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--config=wireline.yaml", "--services.front.proxy.balance=random"}
	second, err := load(args, nil)
	if err != nil || !reflect.DeepEqual(first.Config, second.Config) {
		t.Errorf("the same file gives something else: %v\n%s", err, cmp.Diff(first.Config, second.Config))
	}
	write(t, "wireline.yaml", strings.Replace(three, "max_clients: 7", "max_clients: 8", 1))
	third, err := load(args, nil)
	if err != nil || reflect.DeepEqual(first.Config, third.Config) {
		t.Errorf("another file gives the same: %v", err)
	}
	for name, s := range third.Config.Services {
		if same := reflect.DeepEqual(s, first.Config.Services[name]); same == (name == "front") {
			t.Errorf("the service %s is the same: %v", name, same)
		}
	}
	before := third.Config
	if _, err := config.Load(&third.Config, app.Options("", []string{"--tcp.max_clients=-1"}, nil)); err == nil || !reflect.DeepEqual(before, third.Config) {
		t.Errorf("a bad configuration has changed the struct: %v", err)
	}
}

func TestBlameOfServices(t *testing.T) {
	l, err := loadFile(t, three, "")
	if err != nil {
		t.Fatal(err)
	}
	bad := &field.Error{Field: "Address", Value: "127.0.0.1:7102", Reason: "cannot be bound"}
	err = l.Blame(bad, "services.other.tcp", "services.other.proxy")
	if want := `services.other.tcp.address: file wireline.yaml: "127.0.0.1:7102" cannot be bound`; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if again := l.Blame(err, "services.front.tcp"); again.Error() != err.Error() {
		t.Errorf("an error that has a key gets another one: %v", again)
	}
	err = l.Blame(&field.Error{Field: "MaxClients", Reason: "is bad"}, "services.other.tcp")
	if want := `tcp.max_clients: file wireline.yaml: "50" is bad`; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A program's own struct can have several maps, and one without an inline struct.
func TestFamilies(t *testing.T) {
	type room struct {
		Size int `config:"size" default:"3"`
		Door struct {
			Open bool `config:"open" default:"false"`
		} `config:"door"`
	}
	type house struct {
		Name  string          `config:"name" default:"h"`
		Rooms map[string]room `config:"rooms" help:"a room"`
		Roofs map[string]struct {
			TCP tcp.Config `config:"tcp"`
		} `config:"roofs"`
	}
	var h house
	_, err := config.Load(&h, config.Options{Prefix: "HOUSE", Args: []string{"--rooms.b.door.open"}, Environ: []string{"HOUSE_ROOMS_A_SIZE=7"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Rooms) != 2 || h.Rooms["a"].Size != 7 || h.Rooms["b"].Size != 3 || !h.Rooms["b"].Door.Open || h.Roofs != nil {
		t.Errorf("%+v", h)
	}
	_, err = config.Load(&h, config.Options{Prefix: "HOUSE", Args: []string{"--roofs.a.tcp.max_clients=-1"}, Environ: []string{}})
	if want := `roofs.a.tcp.max_clients: flag --roofs.a.tcp.max_clients: "-1" must not be negative`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestFamiliesThatMakeNoSense(t *testing.T) {
	type inner struct {
		Count int `config:"count" default:"0"`
	}
	for _, test := range []struct {
		of   any
		want string
	}{
		{&struct {
			A struct {
				B map[string]inner `config:"b"`
			} `config:"a"`
		}{}, "config: A.B: a map must be a field of the outermost struct"},
		{&struct {
			A map[string]inner `config:"a" own:"size"`
		}{}, "config: A: there is no key size for the tags own and needs"},
		{&struct {
			A map[string]struct {
				B map[string]inner `config:"b"`
			} `config:"a"`
		}{}, "config: A: a map in a map"},
		{&struct {
			A string `config:"a" zero:"1"`
		}{}, `config: A: the zero "1" is not for the type string`},
		{inner{}, "config: Load needs a pointer to a struct, not a config_test.inner"},
	} {
		func() {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("%T:\n got %v\nwant %v", test.of, got, test.want)
				}
			}()
			config.Load(test.of, app.Options("", nil, nil))
		}()
	}
	for _, o := range []config.Options{{Prefix: "a b"}, {Prefix: "A", Defaults: map[string]string{"no": "1"}}, {Prefix: "A", Defaults: map[string]string{"count": "x"}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: no panic", o)
				}
			}()
			config.Load(new(inner), o)
		}()
	}
}
