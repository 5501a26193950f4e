package config_test

import (
	"strings"
	"testing"

	"wireline/config"
	"wireline/internal/app"
)

// loadText loads the configuration of a file with this text.
func loadText(t *testing.T, text string) *loaded {
	t.Helper()
	write(t, "wireline.yaml", text)
	l, err := load([]string{"--config=wireline.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestChanged(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct{ before, after, want string }{
		{"", "", ""},
		{"tcp: {max_clients: 5}", "tcp: {max_clients: 5} # a comment\n", ""},
		{"", "tcp: {max_clients: 0}", ""}, // the same value from another source
		{"", "tcp: {max_clients: 5}", "tcp.max_clients"},
		{"tcp: {max_clients: 5}\necho: {idle_timeout: 60s}", "echo: {idle_timeout: 1m}", "tcp.max_clients"},
		{"admin: {token: a}", "admin: {token: b}", "admin.token"},
		{"", "tcp: {keepalive: {idle: 5s}}", "tcp.keepalive.idle"}, // proxy.keepalive.idle follows it
		{"tcp: {keepalive: {idle: 5s}}", "proxy: {keepalive: {idle: 5s}}", "tcp.keepalive.idle"},
		{"tcp: {keepalive: {idle: 5s}}", "tcp: {keepalive: {idle: 5s}}\nproxy: {keepalive: {idle: 6s}}", "proxy.keepalive.idle"},
		{"services: {a: {tcp: {address: ':1'}}}", "services: {b: {tcp: {address: ':1'}}}", "services.b services.a"},
		{"services: {a: {tcp: {address: ':1'}}}", "tcp: {max_clients: 5}\nservices: {a: {tcp: {address: ':1'}}}", "tcp.max_clients"},
		{"tcp: {max_clients: 5}\nservices: {a: {tcp: {address: ':1'}}}", "services: {a: {tcp: {address: ':1'}}}", "tcp.max_clients"},
		{"tcp: {max_clients: 5}\nservices: {a: {tcp: {address: ':1', max_clients: 6}}}", "tcp: {max_clients: 5}\nservices: {a: {tcp: {address: ':1'}}}", "services.a.tcp.max_clients"},
		{"services: {a: {tcp: {address: ':1'}}}", "services: {a: {tcp: {address: ':2'}}}", "services.a.tcp.address"},
	} {
		before, after := loadText(t, test.before), loadText(t, test.after)
		if got := strings.Join(after.Changed(before.Loaded), " "); got != test.want {
			t.Errorf("%s\nto %s\nchanged: %s, want %s", test.before, test.after, got, test.want)
		}
	}
}

func TestKeep(t *testing.T) {
	t.Chdir(t.TempDir())
	const file = "admin: {address: '127.0.0.1:%', token: secret%}\ntcp: {max_clients: %}\nservices:\n  a: {tcp: {address: ':8%'}}\n"
	before, after := loadText(t, strings.ReplaceAll(file, "%", "1")), loadText(t, strings.ReplaceAll(file, "%", "2"))
	kept, err := after.Keep(before.Loaded, "admin", "services.a.tcp.max_clients", "adm", "services.b", "log.level", "")
	if got, want := strings.Join(kept, " "), "admin.address admin.token services.a.tcp.max_clients"; got != want || err != nil {
		t.Errorf("kept %s, %v; want %s", got, err, want)
	}
	c := after.Config
	if c.Admin.Address != "127.0.0.1:1" || c.Admin.Token != "secret1" || c.TCP.MaxClients != 2 || c.Services["a"].TCP.MaxClients != 1 || c.Services["a"].TCP.Address != ":82" {
		t.Errorf("the struct has %+v", c)
	}
	if got := strings.Join(after.Changed(before.Loaded), " "); got != "tcp.max_clients services.a.tcp.address" {
		t.Errorf("changed: %s", got)
	}
	text := printed(t, after)
	for _, want := range []string{"  address: 127.0.0.1:1 # file wireline.yaml, kept until a restart\n", "    max_clients: 1 # as tcp.max_clients, kept until a restart\n", "  max_clients: 2 # file wireline.yaml\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	third := loadText(t, strings.ReplaceAll(file, "%", "2"))
	if kept, err = third.Keep(after.Loaded, "admin"); len(kept) != 2 || err != nil {
		t.Errorf("the next time: kept %v, %v", kept, err)
	}
	if again := loadText(t, strings.ReplaceAll(file, "%", "1")); true {
		if kept, err = again.Keep(third.Loaded, "admin"); len(kept) != 0 || err != nil || strings.Count(printed(t, again), "kept") > 0 {
			t.Errorf("the old values again: kept %v, %v", kept, err)
		}
	}
}

// What is kept may not go together with what is new.
func TestKeepIsChecked(t *testing.T) {
	t.Chdir(t.TempDir())
	before := loadText(t, "admin: {address: '127.0.0.1:9000'}\n")
	after := loadText(t, "admin: {address: '127.0.0.1:9001'}\ntcp: {address: '127.0.0.1:9000'}\n")
	kept, err := after.Keep(before.Loaded, "admin.address")
	const want = `admin.address: file wireline.yaml: "127.0.0.1:9000" is an address of tcp.address, 127.0.0.1:9000`
	if err == nil || err.Error() != want || kept != nil || after.Config.Admin.Address != "127.0.0.1:9001" {
		t.Errorf("kept %v, %v", kept, err)
	}
}

func TestKey(t *testing.T) {
	t.Chdir(t.TempDir())
	l := loadText(t, "services: {a: {tcp: {address: ':1'}}}")
	for _, test := range []struct{ section, field, want string }{
		{"tcp", "MaxClients", "tcp.max_clients"},
		{"tcp", "Socket.NoDelay", "tcp.no_delay"},
		{"services.a.tcp", "Socket.ReusePort", "services.a.tcp.reuse_port"},
		{"services.b.tcp", "MaxClients", ""},
		{"", "Handler", "handler"},
		{"tcp", "Nothing", ""},
	} {
		if got := l.Key(test.section, test.field); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.section, test.field, got, test.want)
		}
	}
}

// A program may read the file in its own way; what it reads is checked as ever.
func TestReadFile(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "wireline.yaml", "tcp: {max_clients: 5}")
	for _, test := range []struct{ text, want string }{
		{"tcp: {max_clients: 6}", ""},
		{"\ufefftcp: {max_clients: 6}", ""},
		{strings.Repeat("#", 1<<20) + "#", "is larger than 1 MiB"},
		{"\xff", "is not UTF-8 text"},
	} {
		var c app.Config
		o := app.Options("v1", []string{"--config=wireline.yaml"}, nil)
		o.ReadFile = func(name string) ([]byte, error) { return []byte(test.text), nil }
		l, err := config.Load(&c, o)
		switch {
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%.20s: %v, want %s", test.text, err, test.want)
		case test.want == "" && (err != nil || c.TCP.MaxClients != 6 || l.File() != "wireline.yaml"):
			t.Errorf("%s: %v, %d", test.text, err, c.TCP.MaxClients)
		}
	}
	l, err := load(nil, nil)
	if err != nil || l.File() != "" {
		t.Errorf("without a file: %q, %v", l.File(), err)
	}
}

// Which files set nothing, and which keys are set.
func TestIsSet(t *testing.T) {
	t.Chdir(t.TempDir())
	for text, empty := range map[string]bool{
		"": true, "# handler: echo\n": true, "services: {}\ntcp:\n": true,
		"handler: echo": false, "services: {a: {tcp: {address: ':1'}}}": false,
	} {
		if l := loadText(t, text); l.FileIsEmpty() != empty || l.IsSet("handler") != (text == "handler: echo") {
			t.Errorf("%q: empty is %t, the handler is set is %t", text, l.FileIsEmpty(), l.IsSet("handler"))
		}
	}
	l, err := load([]string{"--handler=echo", "--tcp.keepalive.idle=5s"}, []string{"WIRELINE_TCP_MAX_CLIENTS=0"})
	if err != nil || l.FileIsEmpty() || !l.IsSet("handler") || !l.IsSet("tcp.max_clients") || l.IsSet("proxy.keepalive.idle") || l.IsSet("nothing") {
		t.Errorf("without a file: %v, empty is %t", err, l.FileIsEmpty())
	}
	write(t, "member.yaml", "services: {a: {}}")
	l, err = load([]string{"--config=member.yaml"}, []string{"WIRELINE_SERVICES_A_TCP_ADDRESS=:1"})
	if err != nil || l.FileIsEmpty() {
		t.Errorf("a member alone: %v", err)
	}
}
