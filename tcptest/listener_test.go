package tcptest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wireline/tcptest"
)

// host is a listener of either kind, with a function to connect to it.
type host struct {
	net.Listener
	dial        func(ctx context.Context) (net.Conn, error)
	setDeadline func(t time.Time) error
	settle      func()
}

func memoryHost() *host {
	l := tcptest.Listen()
	dial := func(ctx context.Context) (net.Conn, error) {
		c, err := l.DialContext(ctx)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return &host{l, dial, l.SetDeadline, synctest.Wait}
}

func loopbackHost(t *testing.T) *host {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	settle := func() { time.Sleep(50 * time.Millisecond) }
	return &host{l, dial, l.(*net.TCPListener).SetDeadline, settle}
}

func (h *host) connect() tcpConn {
	c, err := h.dial(context.Background())
	if err != nil {
		panic(err)
	}
	h.settle()
	return c.(tcpConn)
}

// accept returns the error of Accept, and does not use the connection.
func (h *host) accept() error {
	c, err := h.Accept()
	if err == nil {
		c.Close()
	}
	return err
}

// listenerCases return the error to compare. fromConn is set if it is the error of a
// connection, not of the listener.
var listenerCases = []struct {
	name     string
	want     string
	fromConn bool
	run      func(h *host) error
}{
	{"accept", "ok", false, func(h *host) error {
		defer h.connect().Close()
		return h.accept()
	}},
	{"accept, deadline in the past, connection waiting", "TIMEOUT", false, func(h *host) error {
		defer h.connect().Close()
		h.setDeadline(moment("past"))
		return h.accept()
	}},
	{"accept, deadline taken back", "ok", false, func(h *host) error {
		defer h.connect().Close()
		h.setDeadline(moment("past"))
		h.setDeadline(moment("none"))
		return h.accept()
	}},
	{"accept, deadline comes", "TIMEOUT", false, func(h *host) error {
		h.setDeadline(moment("soon"))
		return h.accept()
	}},
	{"accept blocked, deadline in the past", "TIMEOUT", false, func(h *host) error {
		return h.acceptDuring(func() { h.setDeadline(moment("past")) })
	}},
	{"accept blocked, listener closed", "CLOSED", false, func(h *host) error {
		return h.acceptDuring(func() { h.Close() })
	}},
	{"accept blocked, connection comes", "ok", false, func(h *host) error {
		return h.acceptDuring(func() { defer h.connect().Close() })
	}},
	{"accept one that was reset", "ok", false, func(h *host) error {
		c := h.connect()
		c.SetLinger(0)
		c.Close()
		h.settle()
		return h.accept()
	}},
	{"read from one that was reset before accept", "ECONNRESET", true, func(h *host) error {
		c := h.connect()
		c.SetLinger(0)
		c.Close()
		h.settle()
		s, _ := h.Accept()
		defer s.Close()
		return readErr(s)
	}},
	{"read of one in the backlog when the listener closes", "ECONNRESET", true, func(h *host) error {
		c := h.connect()
		defer c.Close()
		c.Write([]byte("lost"))
		h.Close()
		h.settle()
		return readErr(c)
	}},
	{"read of one that was accepted before the listener closes", "EOF", true, func(h *host) error {
		c := h.connect()
		defer c.Close()
		s, _ := h.Accept()
		h.Close()
		h.settle()
		s.Close()
		return readErr(c)
	}},
	{"accept, closed", "CLOSED", false, func(h *host) error { h.Close(); return h.accept() }},
	{"set deadline, closed", "CLOSED", false, func(h *host) error { h.Close(); return h.setDeadline(time.Time{}) }},
	{"close, closed", "CLOSED", false, func(h *host) error { h.Close(); return h.Close() }},
	{"dial, closed", "ECONNREFUSED", false, func(h *host) error {
		h.Close()
		_, err := h.dial(context.Background())
		return err
	}},
}

// acceptDuring returns what an Accept returns that waits when f is called.
func (h *host) acceptDuring(f func()) error {
	done := make(chan error, 1)
	go func() { done <- h.accept() }()
	h.settle()
	f()
	return <-done
}

func readErr(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestListenerBehavesLikeTheKernel(t *testing.T) {
	for _, tt := range listenerCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := func(err error, h *host) string {
				if tt.fromConn {
					return ""
				}
				return errText(err, h.Addr(), h.Addr())
			}
			var inMemory string
			synctest.Test(t, func(t *testing.T) {
				h := memoryHost()
				defer h.Close()
				err := tt.run(h)
				inMemory = text(err, h)
				if got := kind(err); got != tt.want {
					t.Errorf("in memory: %s, want %s", got, tt.want)
				}
			})
			if !kernelIsModel {
				return
			}
			h := loopbackHost(t)
			defer h.Close()
			err := tt.run(h)
			if got := kind(err); got != tt.want {
				t.Errorf("over loopback: %s, want %s", got, tt.want)
			}
			if overLoopback := text(err, h); inMemory != overLoopback {
				t.Errorf("error in memory %q, over loopback %q", inMemory, overLoopback)
			}
		})
	}
}

func TestAcceptReturnsInTheOrderOfDial(t *testing.T) {
	l := tcptest.Listen()
	defer l.Close()
	var clients []*tcptest.Conn
	for range 10 {
		clients = append(clients, dial(t, l))
	}
	for _, c := range clients {
		server := accept(t, l)
		if server.RemoteAddr() != c.LocalAddr() || server.LocalAddr() != l.Addr() || c.RemoteAddr() != l.Addr() {
			t.Errorf("accepted %v to %v, dialled %v to %v",
				server.RemoteAddr(), server.LocalAddr(), c.LocalAddr(), c.RemoteAddr())
		}
	}
}

func TestDialDoesNotWaitForAccept(t *testing.T) {
	l := tcptest.Listen()
	defer l.Close()
	client := dial(t, l)
	client.Write([]byte("early"))
	client.Close()
	got, err := io.ReadAll(accept(t, l))
	if string(got) != "early" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestDialWaitsForTheBacklog(t *testing.T) {
	tests := []struct {
		name string
		end  func(l *tcptest.Listener, cancel func())
		want error
	}{
		{"accept", func(l *tcptest.Listener, cancel func()) { l.Accept() }, nil},
		{"close", func(l *tcptest.Listener, cancel func()) { l.Close() }, syscall.ECONNREFUSED},
		{"cancel", func(l *tcptest.Listener, cancel func()) { cancel() }, context.Canceled},
		{"timeout", func(l *tcptest.Listener, cancel func()) { time.Sleep(time.Hour) }, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := tcptest.Listen()
				l.Backlog = 2
				defer l.Close()
				dial(t, l)
				dial(t, l)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				result := make(chan error, 1)
				go func() {
					_, err := l.DialContext(ctx)
					result <- err
				}()
				synctest.Wait()
				if len(result) > 0 {
					t.Fatalf("the third Dial did not block: %v", <-result)
				}
				tt.end(l, cancel)
				err := <-result
				if !errors.Is(err, tt.want) {
					t.Errorf("Dial: %v, want %v", err, tt.want)
				}
				if _, ok := err.(*net.OpError); err != nil && !ok {
					t.Errorf("the error of Dial is a %T", err)
				}
			})
		})
	}
}

func TestDialDoesNotConnectWithACanceledContext(t *testing.T) {
	l := tcptest.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.DialContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("DialContext: %v", err)
	}
	l.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Accept: %v, want a timeout", err)
	}
	l.Close()
}

func TestContextDoesNotEndAConn(t *testing.T) {
	l := tcptest.Listen()
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	client, err := l.DialContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}

func TestDialFrom(t *testing.T) {
	tests := []struct {
		from   netip.AddrPort
		wantIP string
	}{
		{netip.MustParseAddrPort("127.3.2.1:4000"), "127.3.2.1"},
		{netip.MustParseAddrPort("[2001:db8::1]:4000"), "2001:db8::1"},
		{netip.MustParseAddrPort("127.0.0.1:0"), "127.0.0.1"},
		{netip.AddrPort{}, "192.0.2.1"},
	}
	l := tcptest.Listen()
	defer l.Close()
	for _, tt := range tests {
		client, err := l.DialFrom(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		got := accept(t, l).RemoteAddr().(*net.TCPAddr)
		if got != client.LocalAddr() || got.IP.String() != tt.wantIP {
			t.Errorf("DialFrom(%v): the address is %v", tt.from, got)
		}
		if want := int(tt.from.Port()); got.Port == 0 || want != 0 && got.Port != want {
			t.Errorf("DialFrom(%v): the port is %d", tt.from, got.Port)
		}
	}
}

func TestListenerBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := tcptest.Listen()
		l.Buffer = 3
		defer l.Close()
		client := dial(t, l)
		client.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, _ := client.Write([]byte("12345")); n != 3 {
			t.Errorf("wrote %d bytes, want 3", n)
		}
	})
}

// TestNoConnIsLostWhenTheListenerCloses dials, accepts and closes at the same time.
// Each client must be served, reset or refused.
func TestNoConnIsLostWhenTheListenerCloses(t *testing.T) {
	for range 200 {
		l := tcptest.Listen()
		l.Backlog = 3
		var all sync.WaitGroup
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
		for range 10 {
			all.Go(func() {
				c, err := l.Dial()
				if errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if got := kind(readErr(c)); got != "EOF" && got != "ECONNRESET" {
					t.Errorf("read: %s", got)
				}
			})
		}
		all.Go(func() { l.Close() })
		all.Wait()
	}
}

func TestListenersHaveDistinctAddresses(t *testing.T) {
	a, b := tcptest.Listen(), tcptest.Listen()
	if a.Addr().String() == b.Addr().String() {
		t.Errorf("both listeners have the address %v", a.Addr())
	}
}

func dial(t *testing.T, l *tcptest.Listener) *tcptest.Conn {
	t.Helper()
	c, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func accept(t *testing.T, l *tcptest.Listener) *tcptest.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*tcptest.Conn)
}
