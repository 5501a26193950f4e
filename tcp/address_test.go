package tcp_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
)

func TestValidateAddress(t *testing.T) {
	for _, test := range []struct{ network, address, want string }{
		{"", "", ""},
		{"tcp", ":8000", ""},
		{"tcp", "[::1]:http", ""},
		{"tcp", "localhost:0", ""},
		{"tcp4", "0.0.0.0:1", ""},
		{"tcp6", "[::]:1", ""},
		{"unix", "s", ""},
		{"unix", strings.Repeat("x", 100), ""},

		{"tcp", "8000", "must be host:port"},
		{"tcp", "127.0.0.1", "must be host:port"},
		{"tcp", "::1:0", "must be host:port"},
		{"tcp", "nonsense", "must be host:port"},
		{"tcp", "127.0.0.1:99999", "must have a port"},
		{"tcp", "127.0.0.1:-1", "must have a port"},
		{"tcp", "127.0.0.1:nonsense", "must have a port"},
		{"tcp4", "[::1]:0", "must be an IPv4 address"},
		{"tcp6", "127.0.0.1:0", "must be an IPv6 address"},
		{"unix", ":8000", "must be a path"},
		{"unix", "", "must be a path"},
		{"unix", "a\x00b", "must not have a zero byte"},
		{"unix", strings.Repeat("x", 120), "is too long"},
		{"udp", ":0", "Network udp: must be"},
	} {
		err := (&tcp.Config{Network: test.network, Address: test.address}).Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %q: %v, want %q", test.network, test.address, err, test.want)
		}
	}
}

// 0.0.0.0 is IPv4 alone; no host is both.
func TestListenOnAllInterfaces(t *testing.T) {
	for address, both := range map[string]bool{"0.0.0.0:0": false, ":0": true, "[::]:0": true} {
		ln, err := tcp.Listen(context.Background(), &tcp.Config{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		for host, want := range map[string]bool{"127.0.0.1": true, "::1": both} {
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), patience)
			if err == nil {
				conn.Close()
			}
			if host == "::1" && errors.Is(err, syscall.EADDRNOTAVAIL) {
				continue // the system has no IPv6
			}
			if (err == nil) != want {
				t.Errorf("%s, from %s: %v", address, host, err)
			}
		}
	}
}

// The line "listening" says when the server listens on all interfaces.
func TestListeningLineSaysAllInterfaces(t *testing.T) {
	for address, all := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true, ":0": true} {
		var j journal
		s := &tcp.Server{Config: tcp.Config{Address: address, Log: j.logger()}, Handler: echo()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.ListenAndServe(ctx) }()
		eventually(t, "the line", func() bool { return len(j.find("listening")) == 1 })
		if got := j.find("listening")[0]["interfaces"]; (got == "all") != all {
			t.Errorf("%s: interfaces %v", address, got)
		}
		cancel()
		<-done
	}
}

// What --check finds without listening, and what is left to the start; both name the field.
func TestCheckAndStart(t *testing.T) {
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0").Addr().String()
	missing := filepath.Join(t.TempDir(), "no", "s")
	for _, test := range []struct {
		cfg   tcp.Config
		check bool // finds it
	}{
		{tcp.Config{Address: taken}, false},
		{tcp.Config{Address: "name.invalid:0"}, true},
		{tcp.Config{Network: "unix", Address: missing}, true},
	} {
		var bad *field.Error
		if err := test.cfg.Check(t.Context()); (err != nil) != test.check || err != nil && (!errors.As(err, &bad) || bad.Field != "Address") {
			t.Errorf("Check of %s: %v", test.cfg.Address, err)
		}
		err := tcp.ListenAndServe(&test.cfg, nil)
		var start *tcp.StartError
		if !errors.As(err, &start) || !errors.As(err, &bad) || bad.Field != "Address" || bad.Value != test.cfg.Address || !strings.HasPrefix(err.Error(), "tcp.address: listen ") {
			t.Errorf("ListenAndServe on %s: %v", test.cfg.Address, err)
		}
	}
	good := tcp.Config{Address: "localhost:0"}
	if err := good.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestOverlaps(t *testing.T) {
	for _, test := range []struct {
		a, b string // network and address
		want bool
	}{
		{"tcp :8000", "tcp :8000", true},
		{"tcp :8000", "tcp 127.0.0.1:8000", true},
		{"tcp :8000", "tcp [::1]:8000", true},
		{"tcp :8000", "tcp a.example:8000", true},
		{"tcp :8000", "tcp 0.0.0.0:8000", true},
		{"tcp 0.0.0.0:8000", "tcp 10.0.0.7:8000", true},
		{"tcp 127.0.0.1:8000", "tcp 127.0.0.1:8000", true},
		{"tcp 127.0.0.1:8000", "tcp localhost:8000", true},
		{"tcp 127.0.0.1:8000", "tcp [::ffff:127.0.0.1]:8000", true},
		{"tcp6 localhost:8000", "tcp [0::1]:8000", true},
		{"tcp a.example:http", "tcp a.example:80", true},
		{"tcp6 :8000", "tcp [::1]:8000", true},
		{"unix /run/a", "unix /run/../run/a", true},
		{"unix @a", "unix @a", true},

		{"tcp :8000", "tcp :8001", false},
		{"tcp :0", "tcp :0", false},
		{"tcp 127.0.0.1:8000", "tcp 127.0.0.2:8000", false},
		{"tcp 127.0.0.1:8000", "tcp [::1]:8000", false},
		{"tcp 0.0.0.0:8000", "tcp [::1]:8000", false},
		{"tcp4 :8000", "tcp6 :8000", false},
		{"tcp 0.0.0.0:8000", "tcp6 :8000", false},
		{"tcp6 :8000", "tcp 127.0.0.1:8000", false},
		{"tcp a.example:8000", "tcp b.example:8000", false},
		{"unix /run/a", "unix /run/b", false},
		{"unix @a", "unix a", false},
		{"unix /run/a", "tcp :8000", false},
	} {
		parse := func(text string) *tcp.Config {
			network, address, _ := strings.Cut(text, " ")
			return &tcp.Config{Network: network, Address: address}
		}
		a, b := parse(test.a), parse(test.b)
		if got, again := a.Overlaps(b), b.Overlaps(a); got != test.want || again != test.want {
			t.Errorf("%s and %s: %v, %v, want %v", test.a, test.b, got, again, test.want)
		}
	}
	if !new(tcp.Config).Overlaps(&tcp.Config{Address: ":8000"}) {
		t.Error("the zero value does not overlap :8000")
	}
}
