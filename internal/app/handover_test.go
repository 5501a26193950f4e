package app

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"wireline/internal/testutil"
)

// run runs the group until the test's end, and waits until all services listen.
func (r *reloading) run(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("sockets cannot be handed over")
	}
	r.group.Signals = []os.Signal{}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.group.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := testutil.Await(t, "the end of the group", ended); err != nil {
			t.Error(err)
		}
	})
	for _, s := range r.servers {
		testutil.Eventually(t, "the service "+s.Name, s.Ready)
	}
}

// ports returns n free addresses.
func ports(t *testing.T, n int) (list []any) {
	t.Helper()
	for range n {
		ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
		defer ln.Close()
		list = append(list, ln.Addr().String())
	}
	return list
}

// A service can take the address that another one has until the same reload.
func TestReloadHandsAddressesOver(t *testing.T) {
	for name, test := range map[string]struct{ before, after string }{
		"another name": {"services: {a: {tcp: {address: '%[1]s'}}}", "services: {b: {tcp: {address: '%[1]s'}}}"},
		"a first name": {"tcp: {address: '%[1]s'}", "services: {a: {tcp: {address: '%[1]s'}}, b: {tcp: {address: '%[2]s'}}}"},
		"swapped": {"services: {a: {tcp: {address: '%[1]s'}}, b: {tcp: {address: '%[2]s'}}}",
			"services: {a: {tcp: {address: '%[2]s'}}, b: {tcp: {address: '%[1]s'}}}"},
	} {
		t.Run(name, func(t *testing.T) {
			addresses := ports(t, 2)
			expand := func(text string) string {
				return strings.NewReplacer("%[1]s", addresses[0].(string), "%[2]s", addresses[1].(string)).Replace(text)
			}
			r := newReloading(t, expand(test.before))
			r.run(t)
			r.text = expand(test.after)
			if _, err := r.reload("test"); err != nil {
				t.Fatal(err)
			}
			for _, s := range r.servers {
				if got := s.Addrs(); len(got) != 1 || got[0].String() != s.Settings().Address {
					t.Errorf("service %s: %v, want %s", s.Name, got, s.Settings().Address)
				}
				conn := testutil.Dial(t, "tcp", s.Settings().Address)
				conn.Close()
			}
		})
	}
}

// An address that only overlaps is refused, with its key.
func TestReloadOfAnOverlappingAddress(t *testing.T) {
	_, port, _ := net.SplitHostPort(ports(t, 1)[0].(string))
	r := newReloading(t, "services: {a: {tcp: {address: '127.0.0.1:"+port+"'}}}")
	r.run(t)
	r.text = "services: {b: {tcp: {address: ':" + port + "'}}}"
	want := `services.b.tcp.address: file wireline.yaml: ":` + port + `" overlaps 127.0.0.1:` + port + `, where the service a listens until this change`
	if _, err := r.reload("test"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// A proxy moves to the address of its upstream, and gets another upstream: the new ones count.
func TestReloadMovesAProxyToItsOldUpstream(t *testing.T) {
	addresses := ports(t, 3)
	text := "handler: proxy\ntcp: {address: '%[1]s'}\nproxy: {upstreams: '%[2]s'}"
	r := newReloading(t, fmt.Sprintf(text, addresses[0], addresses[1]))
	r.run(t)
	r.text = fmt.Sprintf(text, addresses[1], addresses[2])
	if _, err := r.reload("test"); err != nil {
		t.Fatal(err)
	}
	if got := r.servers[""].Addrs(); len(got) != 1 || got[0].String() != addresses[1] {
		t.Errorf("%v", got)
	}
	r.text = fmt.Sprintf(text, addresses[2], addresses[2])
	if _, err := r.reload("test"); err == nil || !strings.Contains(err.Error(), "must not name this server's own address") {
		t.Errorf("itself: %v", err)
	}
}
