package proxy

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/lib/field"
)

// A connection to an upstream has the options of the configuration, whoever makes it.
func TestUpstreamKeepAlive(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type options struct{ on, idle, interval, count, userTimeout, noDelay int }
	read := func(fd int) (o options) {
		for _, one := range []struct {
			level, name int
			into        *int
		}{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, &o.on},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, &o.idle},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, &o.interval},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, &o.count},
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, &o.userTimeout},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, &o.noDelay},
		} {
			if *one.into, err = unix.GetsockoptInt(fd, one.level, one.name); err != nil {
				t.Fatal(err)
			}
		}
		return o
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	system := read(fd)
	unix.Close(fd)
	off := system
	off.noDelay = 1
	for name, test := range map[string]struct {
		cfg  Config
		want options
	}{
		"default": {Config{}, options{1, 15, 15, 9, 0, 1}},
		"set":     {Config{KeepAlive: KeepAlive{Idle: 2 * time.Second, Interval: time.Second, Count: 3}, UserTimeout: 1500*time.Millisecond + 1}, options{1, 2, 1, 3, 1501, 1}},
		"off":     {Config{KeepAlive: KeepAlive{Enable: field.SwitchOff}}, off},
	} {
		test.cfg.Upstreams = []string{ln.Addr().String()}
		x := &Proxy{Config: test.cfg}
		s := x.newSettings(test.cfg)
		conn, err := s.upstreams[0].connect(t.Context(), s, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if got := read(int(fd)); got != test.want {
				t.Errorf("%s: %+v, want %+v", name, got, test.want)
			}
		})
		conn.Close()
		fd, err := beginConnect(netip.MustParseAddrPort(test.cfg.Upstreams[0]), s.dialOptions)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(fd); got != test.want {
			t.Errorf("%s, on a loop: %+v, want %+v", name, got, test.want)
		}
		unix.Close(fd)
	}
}

func TestValidateVanished(t *testing.T) {
	for want, cfg := range map[string]Config{
		"KeepAlive.Idle 1.5s: must be whole seconds": {KeepAlive: KeepAlive{Idle: 1500 * time.Millisecond}},
		"KeepAlive.Interval -1ns: must be whole":     {KeepAlive: KeepAlive{Interval: -1}},
		"KeepAlive.Count 128: must be from 1":        {KeepAlive: KeepAlive{Count: 128}},
		"UserTimeout -1ns: must not be negative":     {UserTimeout: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
