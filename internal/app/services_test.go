package app

import (
	"testing"

	"wireline/lib/field"
)

// Where names of upstreams lead counts too.
func TestCyclesByName(t *testing.T) {
	var c Config
	service := func(address string, upstreams ...string) Service {
		s := Service{Handler: "proxy"}
		s.TCP.Address, s.Proxy.Upstreams = address, upstreams
		return s
	}
	c.Services = map[string]Service{
		"a": service("127.0.0.1:1", "b.example:2"),
		"b": service("127.0.0.1:2", "c.example:3", "unix:/run/s"),
		"c": service("127.0.0.1:3", "127.0.0.1:2"),
		"d": service("127.0.0.1:4", "127.0.0.1:1"),
	}
	addresses := c.upstreams()
	check := func(want string) {
		t.Helper()
		var e field.Errors
		c.checkCycles(&e, addresses)
		got := ""
		if err := e.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check("")
	addresses["a"]["b.example:2"] = []string{"192.0.2.1:2", "127.0.0.1:2"}
	check("")
	addresses["b"]["c.example:3"] = []string{"127.0.0.1:3"}
	check("Services.b.Proxy.Upstreams c.example:3: makes the services relay to each other: b -> c -> b")
	addresses["c"]["127.0.0.1:2"] = []string{"127.0.0.1:1"}
	check("Services.a.Proxy.Upstreams b.example:2: makes the services relay to each other: a -> b -> c -> a")
}
