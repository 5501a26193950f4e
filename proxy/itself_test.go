package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"wireline/lib/field"
)

func TestIsItself(t *testing.T) {
	local := func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("2001:db8::9")}
	}
	for _, test := range []struct {
		network, own, upstream string
		want                   bool
	}{
		{"tcp", ":8000", "127.0.0.1:8000", true},
		{"tcp", ":8000", "[::1]:8000", true},
		{"tcp", ":8000", "localhost:8000", true},
		{"tcp", "0.0.0.0:8000", "127.0.0.1:8000", true},
		{"tcp", "127.0.0.1:8000", "0.0.0.0:8000", true},
		{"tcp", "localhost:8000", "127.0.0.1:8000", true},
		{"tcp", "10.0.0.7:8000", "10.0.0.7:8000", true},
		{"tcp", "a.example:8000", "a.example:8000", true},
		{"unix", "/run/s", "unix:/run/./s", true},

		{"tcp", "[::]:8000", "127.0.0.1:8000", true},
		{"tcp", ":8000", "10.0.0.9:8000", true},
		{"tcp", ":8000", "[2001:db8::9]:8000", true},
		{"tcp", "0.0.0.0:8000", "10.0.0.9:8000", true},
		{"tcp", "0.0.0.0:8000", "[::ffff:10.0.0.9]:8000", true},
		{"tcp4", ":8000", "localhost:8000", true},
		{"tcp6", ":8000", "localhost:8000", true},

		{"tcp", ":8000", "127.0.0.1:8001", false},
		{"tcp", ":8000", "10.0.0.7:8000", false},
		{"tcp", "0.0.0.0:8000", "[::1]:8000", false},
		{"tcp", "0.0.0.0:8000", "[2001:db8::9]:8000", false},
		{"tcp4", ":8000", "[::1]:8000", false},
		{"tcp6", ":8000", "127.0.0.1:8000", false},
		{"tcp", "127.0.0.1:8000", "10.0.0.9:8000", false},
		{"tcp", ":8000", "a.example:8000", false},
		{"tcp", "10.0.0.7:8000", "127.0.0.1:8000", false},
		{"tcp", "10.0.0.7:8000", "localhost:8000", false},
		{"tcp", "10.0.0.7:8000", "10.0.0.8:8000", false},
		{"tcp", "127.0.0.2:8000", "127.0.0.1:8000", false},
		{"tcp", ":8000", "unix:/run/s", false},
		{"unix", "/run/s", "127.0.0.1:8000", false},
		{"tcp", ":0", "127.0.0.1:8000", false},
	} {
		if got := isItself(test.network, test.own, test.upstream, local); got != test.want {
			t.Errorf("%s %s, upstream %s: %v, want %v", test.network, test.own, test.upstream, got, test.want)
		}
	}
}

// The listener's address decides, also that of a server in a program of one's own.
func TestCheckListener(t *testing.T) {
	x := &Proxy{Config: Config{Upstreams: []string{"192.0.2.1:80", "127.0.0.1:8000"}}}
	var bad *field.Error
	if err := x.Config.CheckListener("tcp", ":8000"); !errors.As(err, &bad) || bad.Field != "Upstreams" || bad.Value != "127.0.0.1:8000" {
		t.Errorf("CheckListener: %v", err)
	}
	if err := x.Config.CheckListener("tcp", "127.0.0.1:8001"); err != nil {
		t.Errorf("CheckListener: %v", err)
	}
}

// Only names are looked up; one without an address is a warning.
func TestAddresses(t *testing.T) {
	c := Config{Upstreams: []string{"192.0.2.1:80", "localhost:81", "unix:/run/s", "nowhere.invalid:82", "[::1]:83"}}
	var warned []string
	all := c.Addresses(context.Background(), func(err error) {
		var bad *field.Error
		if errors.As(err, &bad) && bad.Field == "Upstreams" {
			warned = append(warned, bad.Value.(string))
		}
	})
	for _, u := range c.Upstreams {
		want := []string{u}
		if u == "nowhere.invalid:82" {
			want = nil
		}
		if !slices.Equal(all[u], want) {
			t.Errorf("%s is at %q, want %q", u, all[u], want)
		}
	}
	if !slices.Equal(warned, []string{"nowhere.invalid:82"}) {
		t.Errorf("warnings about %q", warned)
	}
}
