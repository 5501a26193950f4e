package tcptest

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// Addresses that are nobody's (TEST-NET-1, RFC 5737), so that one that turns up
// in a log is not taken for a real peer. net/http/httptest has its clients at
// the first of them, too.
var (
	clientIP = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	serverIP = netip.AddrFrom4([4]byte{192, 0, 2, 2})
)

// Ports from 1024 on, the first that need no privilege.
const (
	firstPort = 1024
	portCount = 1<<16 - firstPort
)

var portsUsed atomic.Uint32

// nextAddr returns ip with the next port. A port comes again only after all the
// others, so that the connections of a test can be told apart by their address.
func nextAddr(ip netip.Addr) *net.TCPAddr {
	port := firstPort + (portsUsed.Add(1)-1)%portCount
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
}

// addrFrom completes what the caller has left open of a client's address.
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
