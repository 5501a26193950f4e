package config_test

import (
	"strings"
	"testing"
	"time"

	"wireline/tcp"
)

// What is not set for the upstreams is as on the client's side, and --print-config says so.
func TestInherit(t *testing.T) {
	args := strings.Fields("--tcp.keepalive.idle 2s --tcp.keepalive.count 3 --proxy.keepalive.count 4 --proxy.keepalive.interval 5s --tcp.keepalive.enable=false")
	loaded, err := load(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := loaded.Config.Proxy.KeepAlive
	if k.Enable != tcp.SwitchOff || k.Idle != 2*time.Second || k.Interval != 5*time.Second || k.Count != 4 {
		t.Errorf("%+v", k)
	}
	text := printed(t, loaded)
	for _, want := range []string{"idle: 2s # as tcp.keepalive.idle\n", "count: 4 # flag --proxy.keepalive.count\n", "interval: 15s # default\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	t.Chdir(t.TempDir())
	roundTrip(t, loaded)

	_, err = load([]string{"--tcp.keepalive.idle=0"}, nil) // one error, not two
	if want := `tcp.keepalive.idle: flag --tcp.keepalive.idle: "0" must be whole seconds from 1s to 9h`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
