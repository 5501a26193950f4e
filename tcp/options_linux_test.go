package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
)

// sockoptNames are what tests ask getsockopt(2) for.
var sockoptNames = map[string]struct{ level, name int }{
	"TCP_NODELAY":      {unix.IPPROTO_TCP, unix.TCP_NODELAY},
	"SO_KEEPALIVE":     {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	"TCP_KEEPIDLE":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	"TCP_KEEPINTVL":    {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	"TCP_KEEPCNT":      {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	"TCP_USER_TIMEOUT": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	"SO_REUSEPORT":     {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	"TCP_FASTOPEN":     {unix.IPPROTO_TCP, unix.TCP_FASTOPEN},
	"TCP_DEFER_ACCEPT": {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	"SO_RCVBUF":        {unix.SOL_SOCKET, unix.SO_RCVBUF},
	"SO_SNDBUF":        {unix.SOL_SOCKET, unix.SO_SNDBUF},
}

// getOptions reads those options of a socket that want has. SO_LINGER is -1 if it is
// off, else its seconds; the backlog is what the kernel tells of a socket that listens
// (tcp_get_info in Linux's net/ipv4/tcp.c).
func getOptions(fd int, want map[string]int) map[string]int {
	got := map[string]int{}
	for name := range want {
		switch name {
		case "SO_LINGER":
			got[name] = -1
			if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 {
				got[name] = int(l.Linger)
			}
		case "backlog":
			if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				got[name] = int(info.Sacked)
			}
		default:
			o := sockoptNames[name]
			v, err := unix.GetsockoptInt(fd, o.level, o.name)
			if err != nil {
				v = -1
			}
			got[name] = v
		}
	}
	return got
}

// optionsIn is getOptions of what is in conn, a connection or a listener.
func optionsIn(t *testing.T, conn any, want map[string]int) (got map[string]int) {
	t.Helper()
	if w, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = w.NetConn()
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { got = getOptions(int(fd), want) })
	}
	if err != nil {
		t.Error(err)
	}
	return got
}

// sysctl reads a setting of the system.
func sysctl(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		t.Skip(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// optionTests are configurations, and what getsockopt(2) says then: of the listener,
// and of what is accepted.
var optionTests = []struct {
	name               string
	cfg                tcp.Config
	listener, accepted map[string]int // nil: as the listener
}{
	{
		name: "defaults",
		listener: map[string]int{
			"TCP_NODELAY": 1, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 9,
			"TCP_USER_TIMEOUT": 0, "SO_REUSEPORT": 0, "TCP_DEFER_ACCEPT": 0, "SO_LINGER": -1,
		},
	},
	{"no_delay", tcp.Config{Socket: tcp.Socket{NoDelay: tcp.SwitchOff}}, map[string]int{"TCP_NODELAY": 0, "SO_KEEPALIVE": 1}, nil},
	{"keepalive.enable", tcp.Config{Socket: tcp.Socket{KeepAlive: tcp.KeepAlive{Enable: tcp.SwitchOff}}}, map[string]int{"SO_KEEPALIVE": 0, "TCP_NODELAY": 1}, nil},
	{
		"keepalive", tcp.Config{Socket: tcp.Socket{KeepAlive: tcp.KeepAlive{Idle: 41 * time.Second, Interval: 7 * time.Second, Count: 3}}},
		map[string]int{"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 41, "TCP_KEEPINTVL": 7, "TCP_KEEPCNT": 3}, nil,
	},
	{
		"keepalive without no_delay", tcp.Config{Socket: tcp.Socket{NoDelay: tcp.SwitchOff, KeepAlive: tcp.KeepAlive{Idle: 41 * time.Second}}},
		map[string]int{"TCP_NODELAY": 0, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 41, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 9}, nil,
	},
	{"user_timeout", tcp.Config{Socket: tcp.Socket{UserTimeout: 1500 * time.Millisecond}}, map[string]int{"TCP_USER_TIMEOUT": 1500}, nil},
	{"backlog", tcp.Config{Socket: tcp.Socket{Backlog: 17}}, map[string]int{"backlog": 17}, map[string]int{}},
	{"reuse_port", tcp.Config{Socket: tcp.Socket{ReusePort: true}}, map[string]int{"SO_REUSEPORT": 1}, nil},
	// The request queue is the listener's own (inet_csk_clone_lock).
	{"defer_accept", tcp.Config{Socket: tcp.Socket{DeferAccept: 3 * time.Second}}, map[string]int{"TCP_DEFER_ACCEPT": 3}, map[string]int{"TCP_DEFER_ACCEPT": 0}},
	{"receive_buffer", tcp.Config{Socket: tcp.Socket{ReceiveBuffer: 40000}}, map[string]int{"SO_RCVBUF": 80000}, nil},
	{"send_buffer", tcp.Config{Socket: tcp.Socket{SendBuffer: 50000}}, map[string]int{"SO_SNDBUF": 100000}, nil},
	{"linger 5s", tcp.Config{Linger: handler.CloseWithin(5 * time.Second)}, map[string]int{"SO_LINGER": 5}, nil},
	{"linger reset", tcp.Config{Linger: handler.CloseReset}, map[string]int{"SO_LINGER": 0}, nil},
	{"linger lingering", tcp.Config{Linger: handler.CloseLingering}, map[string]int{"SO_LINGER": -1}, nil},
}

// The options are those of the listener, and what it accepts inherits them, whichever
// way it comes to the handler: as a socket, as a connection made of one, or as a
// connection of package net, which has ideas of its own.
func TestSocketOptions(t *testing.T) {
	for _, test := range optionTests {
		t.Run(test.name, func(t *testing.T) {
			if test.accepted == nil {
				test.accepted = test.listener
			}
			test.cfg.Address = "127.0.0.1:0"
			expect := func(what string, got, want map[string]int) {
				t.Helper()
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			seen := make(chan map[string]int, 2)
			connections := func() *handler.Plain {
				return handler.Func(func(_ context.Context, conn net.Conn) {
					conn.Read(make([]byte, 1)) // the client is to see its connect succeed first
					seen <- optionsIn(t, conn, test.accepted)
				})
			}
			plain := connections()
			sockets := &acceptor{Handler: plain, accept: func(a handler.Accepted) {
				fd := mustSocket(t, a)
				seen <- getOptions(fd, test.accepted)
				if _, err := a.Conn(); err != nil {
					t.Error(err)
				}
				unix.Close(fd)
				plain.Accept(a)
			}}
			for what, h := range map[string]handler.Handler{"connection": connections(), "socket": sockets} {
				ln, err := tcp.Listen(t.Context(), &test.cfg)
				if err != nil {
					t.Fatal(err)
				}
				expect("listener", optionsIn(t, ln, test.listener), test.listener)
				// A Server that was told nothing: the options are Listen's.
				srv := &tcp.Server{Handler: h}
				serve(t.Context(), t, srv, ln)
				client := dial(t, "tcp", ln.Addr().String())
				send(t, client, "x")
				expect(what, testutil.Await(t, "a connection", seen), test.accepted)
				if what == "socket" {
					expect("connection made of it", testutil.Await(t, "a connection", seen), test.accepted)
				}
				client.Close()
				expect("listener, served", optionsIn(t, ln, test.listener), test.listener)
				shutdown(t, srv)
			}
		})
	}
}

// A connection that was hijacked from an event loop keeps its socket options, although
// package net sets others on the connections that it makes.
func TestHijackKeepsSocketOptions(t *testing.T) {
	want := map[string]int{"TCP_NODELAY": 0, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 41, "TCP_KEEPCNT": 2, "SO_LINGER": 7}
	got := make(chan map[string]int, 1)
	h := &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
		conn, _, err := c.Hijack()
		if err != nil {
			return err
		}
		got <- optionsIn(t, conn, want)
		return conn.Close()
	}}
	s := start(t, tcp.Config{Linger: handler.CloseWithin(7 * time.Second), Socket: tcp.Socket{NoDelay: tcp.SwitchOff, KeepAlive: tcp.KeepAlive{Idle: 41 * time.Second, Count: 2}}}, h)
	send(t, dial(t, "tcp", s.Addr), "x\n")
	if diff := cmp.Diff(want, testutil.Await(t, "a connection", got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Two servers share a port, if both say so.
func TestReusePort(t *testing.T) {
	cfg := tcp.Config{Address: "127.0.0.1:0", Socket: tcp.Socket{ReusePort: true}}
	first, err := tcp.Listen(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	cfg.Address = first.Addr().String()
	second, err := tcp.Listen(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	cfg.Socket.ReusePort = false
	if third, err := tcp.Listen(t.Context(), &cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("without reuse_port: %v, %v", third, err)
	}
}

// Fast open needs the system's consent, and is an error without it: the kernel would
// take the option and do nothing. With it, a listener has its queue.
func TestFastOpen(t *testing.T) {
	allowed := sysctl(t, "net/ipv4/tcp_fastopen")&2 != 0
	ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Socket: tcp.Socket{FastOpen: 16}})
	if !allowed {
		if err == nil || !strings.Contains(err.Error(), "tcp.fast_open 16: ") || !strings.Contains(err.Error(), "net.ipv4.tcp_fastopen") {
			t.Errorf("the system has it off: %v, %v", ln, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	want := map[string]int{"TCP_FASTOPEN": 16}
	if diff := cmp.Diff(want, optionsIn(t, ln, want)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// leastBuffer is the least size that the system takes for a socket's buffer as it is.
func leastBuffer(t *testing.T, option int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
		t.Fatal(err)
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil {
		t.Fatal(err)
	}
	return n / 2
}

// What the system gives less of than was asked for, or more, is an error that names it.
func TestOptionsOverTheSystemsLimits(t *testing.T) {
	read, write, queue := sysctl(t, "net/core/rmem_max"), sysctl(t, "net/core/wmem_max"), sysctl(t, "net/core/somaxconn")
	leastRead, leastWrite := leastBuffer(t, unix.SO_RCVBUF), leastBuffer(t, unix.SO_SNDBUF)
	for _, test := range []struct {
		cfg  tcp.Config
		want string
	}{
		{tcp.Config{Socket: tcp.Socket{ReceiveBuffer: read + 1}}, fmt.Sprintf("tcp.receive_buffer %d: the system allows %d bytes at most: net.core.rmem_max", read+1, read)},
		{tcp.Config{Socket: tcp.Socket{SendBuffer: write + 1}}, fmt.Sprintf("tcp.send_buffer %d: the system allows %d bytes at most: net.core.wmem_max", write+1, write)},
		{tcp.Config{Socket: tcp.Socket{ReceiveBuffer: 1}}, fmt.Sprintf("tcp.receive_buffer 1: the system gives %d bytes at least", leastRead)},
		{tcp.Config{Socket: tcp.Socket{ReceiveBuffer: leastRead - 1}}, fmt.Sprintf("tcp.receive_buffer %d: the system gives %d bytes at least", leastRead-1, leastRead)},
		{tcp.Config{Socket: tcp.Socket{SendBuffer: 1}}, fmt.Sprintf("tcp.send_buffer 1: the system gives %d bytes at least", leastWrite)},
		{tcp.Config{Socket: tcp.Socket{Backlog: queue + 1}}, fmt.Sprintf("tcp.backlog %d: the system allows %d at most: net.core.somaxconn", queue+1, queue)},
	} {
		test.cfg.Address = "127.0.0.1:0"
		if ln, err := tcp.Listen(t.Context(), &test.cfg); err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%v, %v\nwant: %s", ln, err, test.want)
		}
	}
	for _, cfg := range []tcp.Config{
		{Socket: tcp.Socket{ReceiveBuffer: read, SendBuffer: write, Backlog: queue}},
		{Socket: tcp.Socket{ReceiveBuffer: leastRead, SendBuffer: leastWrite}},
	} {
		cfg.Address = "127.0.0.1:0"
		ln, err := tcp.Listen(t.Context(), &cfg)
		if err != nil {
			t.Fatalf("what the system allows: %v", err)
		}
		ln.Close()
	}
}

// A header is peeked at in the kernel's buffer, so all of the longest one must fit there,
// however it arrives.
func TestReceiveBufferTakesProxyHeaders(t *testing.T) {
	cfg := trusting(tcp.ProxyProtocolRequired)
	cfg.Address = "127.0.0.1:0"
	cfg.Socket.ReceiveBuffer = 8<<10 - 1
	want := "Socket.ReceiveBuffer 8191: must be 8192 at least with the PROXY protocol"
	if ln, err := tcp.Listen(t.Context(), &cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, %v\nwant: %s", ln, err, want)
	}
	cfg.Socket.ReceiveBuffer = 8 << 10
	s := start(t, cfg, whoami())
	const longest = 4096 - 12 - 3 // without addresses and the TLV's own head
	header := formatted(t, 2, from4, to4, proxyproto.TLV{Type: proxyproto.PP2_TYPE_MIN_CUSTOM, Value: make([]byte, longest)})
	for _, size := range []int{len(header), 1000, 100, 7} {
		conn := dial(t, "tcp", s.Addr)
		for text := header; text != ""; text = text[min(size, len(text)):] {
			send(t, conn, text[:min(size, len(text))])
		}
		send(t, conn, "hello\n")
		receive(t, conn, "192.0.2.1:4711 to 192.0.2.2:80, 1 TLVs\nhello\n")
	}
}

// A unix socket has few of the options; the others are errors that name them.
func TestSocketOptionsOfUnixSockets(t *testing.T) {
	cfg := tcp.Config{
		Network: "unix", Address: filepath.Join(t.TempDir(), "s"), Linger: handler.CloseLingering,
		Socket: tcp.Socket{
			Backlog:   3,
			KeepAlive: tcp.KeepAlive{Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9}, // the defaults
		},
	}
	ln, err := tcp.Listen(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel takes one connection more than the backlog (unix_recvq_full_lockless).
	for range 4 {
		dial(t, "unix", cfg.Address)
	}
	d := net.Dialer{Timeout: 100 * time.Millisecond}
	if conn, err := d.Dial("unix", cfg.Address); err == nil {
		conn.Close()
		t.Error("the queue is longer than the backlog")
	}
	ln.Close()

	for name, change := range map[string]func(*tcp.Config){
		"Linger":                    func(c *tcp.Config) { c.Linger = handler.CloseReset },
		"Socket.NoDelay":            func(c *tcp.Config) { c.Socket.NoDelay = tcp.SwitchOff },
		"Socket.KeepAlive.Enable":   func(c *tcp.Config) { c.Socket.KeepAlive.Enable = tcp.SwitchOff },
		"Socket.KeepAlive.Idle":     func(c *tcp.Config) { c.Socket.KeepAlive.Idle = time.Second },
		"Socket.KeepAlive.Interval": func(c *tcp.Config) { c.Socket.KeepAlive.Interval = time.Second },
		"Socket.KeepAlive.Count":    func(c *tcp.Config) { c.Socket.KeepAlive.Count = 1 },
		"Socket.UserTimeout":        func(c *tcp.Config) { c.Socket.UserTimeout = time.Second },
		"Socket.ReusePort":          func(c *tcp.Config) { c.Socket.ReusePort = true },
		"Socket.FastOpen":           func(c *tcp.Config) { c.Socket.FastOpen = 1 },
		"Socket.DeferAccept":        func(c *tcp.Config) { c.Socket.DeferAccept = time.Second },
		"Socket.ReceiveBuffer":      func(c *tcp.Config) { c.Socket.ReceiveBuffer = 1 << 16 },
		"Socket.SendBuffer":         func(c *tcp.Config) { c.Socket.SendBuffer = 1 << 16 },
	} {
		with := cfg
		change(&with)
		var bad *field.Error
		if err := with.Validate(); !errors.As(err, &bad) || bad.Field != name || bad.Reason != "is not for unix sockets" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that says nothing is not accepted where that is put off.
func TestDeferAccept(t *testing.T) {
	accepted := make(chan struct{}, 1)
	h := echo()
	h.OnOpen = func(*handler.Client) error { accepted <- struct{}{}; return nil }
	s := start(t, tcp.Config{Socket: tcp.Socket{DeferAccept: 60 * time.Second}}, h)
	conn := dial(t, "tcp", s.Addr)
	if receivedSoon(accepted, 200*time.Millisecond) {
		t.Error("accepted before it has sent anything")
	}
	send(t, conn, "x\n")
	testutil.Await(t, "the client", accepted)
	receive(t, conn, "x\n")
}

// The kernel keeps no more connections than the backlog and one that were not accepted.
func TestBacklog(t *testing.T) {
	t.Parallel()
	ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Socket: tcp.Socket{Backlog: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 3 {
		dial(t, "tcp", ln.Addr().String())
	}
	d := net.Dialer{Timeout: 100 * time.Millisecond}
	for range 3 {
		if conn, err := d.Dial("tcp", ln.Addr().String()); err == nil {
			defer conn.Close() // it may believe that it is connected, but is not in the queue
		}
	}
	ln.(*net.TCPListener).SetDeadline(time.Now().Add(time.Second))
	n := 0
	for {
		conn, err := ln.Accept()
		if err != nil {
			break
		}
		conn.Close()
		n++
	}
	if n != 3 {
		t.Errorf("%d connections in the queue, want 3", n)
	}
}

// Check finds the options that the system does not take, without listening.
func TestCheckTriesOptions(t *testing.T) {
	for name, o := range map[string]tcp.Socket{
		"Socket.Backlog":       {Backlog: 1 << 29},
		"Socket.ReceiveBuffer": {ReceiveBuffer: 1 << 29},
		"Socket.FastOpen":      {FastOpen: 1 << 29},
	} {
		var bad *field.Error
		err := (&tcp.Config{Socket: o}).Check(t.Context())
		if !errors.As(err, &bad) || bad.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
