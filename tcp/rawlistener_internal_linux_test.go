package tcp

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"wireline/handler"
)

// The first connection has the options in force, although nobody knows yet whether it has come before
// the listener had them.
func TestFirstConnectionAfterAChange(t *testing.T) {
	s := &Server{Handler: new(handler.Frames)}
	s.init()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := s.newListener(t.Context(), ln, new(Config))
	next := *s.settings.Load()
	next.Socket.NoDelay = SwitchOff
	l.setChanged(&next.Config, &s.settings.Load().Config)
	s.settings.Store(&next)
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a, err := l.accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	fd, ok := a.Socket()
	if !ok {
		t.Fatal("it is not accepted as a bare socket")
	}
	for name, fd := range map[string]int{"the connection": fd, "the listener": l.raw.fileno(t)} {
		if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on != 0 {
			t.Errorf("%s: TCP_NODELAY is %d, %v", name, on, err)
		}
	}
}

func (l *rawListener) fileno(t *testing.T) (n int) {
	t.Helper()
	if err := l.raw.Control(func(fd uintptr) { n = int(fd) }); err != nil {
		t.Fatal(err)
	}
	return n
}
