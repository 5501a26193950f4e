package handler_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tcpStates maps the states of the kernel (include/net/tcp_states.h) to their names in ss(8) and the
// documentation.
var tcpStates = map[uint8]string{
	1: "ESTAB", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "none", 11: "CLOSING",
}

// stateOf returns the TCP state of the server end of conn, or "none" if the kernel has no such
// connection; 10 is the listener's, which is what the kernel finds then.
func stateOf(t *testing.T, conn net.Conn) string {
	t.Helper()
	local, remote := addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	state, err := diagnose(local, remote)
	if errors.Is(err, syscall.EPROTONOSUPPORT) { // qemu
		state, err = searchTable(local, remote)
	}
	if errors.Is(err, syscall.ENOENT) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	return tcpStates[state]
}

func addrPort(addr net.Addr) netip.AddrPort { return netip.MustParseAddrPort(addr.String()) }

// diagnose asks the kernel for the state of one IPv4 connection (sock_diag(7)). That is quick, while
// /proc/net/tcp has all connections of the system, thousands of them in TIME_WAIT after other tests.
func diagnose(local, remote netip.AddrPort) (state uint8, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	const size = unix.NLMSG_HDRLEN + 56 // with struct inet_diag_req_v2
	b := make([]byte, 0, size)          // struct nlmsghdr:
	b = binary.NativeEndian.AppendUint32(b, size)
	b = binary.NativeEndian.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // sequence number and port of the socket
	b = append(b, unix.AF_INET, unix.IPPROTO_TCP, 0, 0)
	b = append(b, 0xff, 0xff, 0xff, 0xff) // states: all
	b = binary.BigEndian.AppendUint16(b, local.Port())
	b = binary.BigEndian.AppendUint16(b, remote.Port())
	b = append(append(b, local.Addr().AsSlice()...), make([]byte, 12)...)
	b = append(append(b, remote.Addr().AsSlice()...), make([]byte, 12)...)
	b = append(b, 0, 0, 0, 0)                            // any interface
	b = append(b, "\xff\xff\xff\xff\xff\xff\xff\xff"...) // INET_DIAG_NOCOOKIE
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, err
	}
	messages, err := syscall.ParseNetlinkMessage(answer[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("sock_diag: %d messages, %v", len(messages), err)
	}
	m := messages[0]
	if m.Header.Type == unix.NLMSG_ERROR {
		return 0, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	}
	return m.Data[1], nil // struct inet_diag_msg: family, state
}

// searchTable is diagnose by way of /proc/net/tcp.
func searchTable(local, remote netip.AddrPort) (state uint8, err error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	want := inTable(local) + " " + inTable(remote)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[1]+" "+f[2] == want {
			_, err := fmt.Sscanf(f[3], "%X", &state)
			return state, err
		}
	}
	return 0, syscall.ENOENT
}

// inTable returns an IPv4 address in the format of /proc/net/tcp on little-endian machines.
func inTable(addr netip.AddrPort) string {
	b := addr.Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], addr.Port())
}

// Both ways to find the state agree.
func TestStateOf(t *testing.T) {
	_, dial := listenNet(t, "tcp", "127.0.0.1:0")
	conn := dial()
	defer conn.Close()
	local, remote := addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	check := func(want string) {
		t.Helper()
		expectState(t, conn, want)
		if state, err := searchTable(local, remote); err != nil || tcpStates[state] != want {
			t.Errorf("the table has state %d, %v; want %s", state, err, want)
		}
	}
	check("ESTAB")
	closeWrite(t, conn)
	check("CLOSE_WAIT")
	nobody := netip.AddrPortFrom(remote.Addr(), local.Port())
	if state, err := diagnose(local, nobody); err == nil && tcpStates[state] != "none" {
		t.Errorf("a connection of nobody has state %d", state)
	}
	if _, err := searchTable(local, nobody); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a connection of nobody: %v", err)
	}
}
