package tcptest

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// The addresses belong to nobody (TEST-NET-1, RFC 5737), so one that appears in a log
// is not mistaken for a real peer. net/http/httptest uses the first one for its clients
// too.
var (
	clientIP = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	serverIP = netip.AddrFrom4([4]byte{192, 0, 2, 2})
)

// Ports begin at 1024, the first port that needs no privilege.
const (
	firstPort = 1024
	portCount = 1<<16 - firstPort
)

var portsUsed atomic.Uint32

// nextAddr returns ip with the next port. A port is reused only after all others, so
// that the connections of a test can be told apart by their addresses.
func nextAddr(ip netip.Addr) *net.TCPAddr {
	port := firstPort + (portsUsed.Add(1)-1)%portCount
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
}

// addrFrom fills in the parts of a client address that the caller has left empty.
func addrFrom(from netip.AddrPort) *net.TCPAddr {
	ip := from.Addr()
	if !ip.IsValid() {
		ip = clientIP
	}
	if from.Port() == 0 {
		return nextAddr(ip)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, from.Port()))
}
