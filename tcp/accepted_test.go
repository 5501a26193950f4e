package tcp

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"wireline/handler"
)

// An idle connection keeps its accepted.
func TestAcceptedIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(accepted{}); size > 48 {
		t.Errorf("%d bytes", size)
	}
	if size := unsafe.Sizeof(extra{}); size > 32 {
		t.Errorf("%d bytes more with TLS", size)
	}
}

// A descriptor that is gone, as when there was none left to make a net.Conn with, is not
// closed: its number may be another connection's by now.
func TestAcceptedWithoutDescriptor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are no bare sockets")
	}
	a := &accepted{from: &terms{listener: &listener{ln: &net.TCPListener{}}}, fd: -1, kind: hasIP}
	a.reset()
	if _, err := a.Conn(); err == nil {
		t.Error("there is a connection")
	}
	if fd, ok := a.Socket(); ok {
		t.Errorf("there is a socket: %d", fd)
	}
}

// What is called again after the end does not count again.
func TestDoneOnce(t *testing.T) {
	s := &Server{Config: Config{MaxClients: 10, MaxClientsPerIP: 10}}
	s.init()
	set := s.settings.Load()
	ip := netip.MustParseAddr("192.0.2.1")
	for range 2 {
		s.admission.place(s.stopped)
		s.admission.enter(set, ip)
		s.serving.Add(1)
	}
	a := &accepted{from: (&listener{server: s}).newTerms(set), ip: ip.As16(), kind: hasIP | counted}
	a.Done()
	a.Done()
	if n := s.serving.Count(); n != 1 || s.admission.active != 1 || s.admission.perIP[ip] != 1 {
		t.Errorf("%d are served, %d admitted, %d of the address", n, s.admission.active, s.admission.perIP[ip])
	}
	var _ handler.Accepted = a
}
