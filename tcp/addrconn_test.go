package tcp_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// What a handler takes over has the addresses that a header has named, however it was held,
// and the methods of the connection underneath.
func TestHijackKeepsTheHeadersAddresses(t *testing.T) {
	for name, listen := range map[string]func(net.Listener) net.Listener{
		"loop":      func(ln net.Listener) net.Listener { return ln },
		"goroutine": func(ln net.Listener) net.Listener { return hide{ln} },
	} {
		for header, want := range map[string][]string{
			formatted(t, 1, from4, to4): {to4.String(), from4.String()},
			formatted(t, 2, nil, nil):   nil, // the balancer's own
		} {
			t.Run(name, func(t *testing.T) {
				hijacked := make(chan net.Conn, 1)
				s := tcptest.NewUnstartedServer(&handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
					conn, _, err := c.Hijack()
					if err == nil {
						hijacked <- conn
					}
					return err
				}})
				s.TCP.Config = trusting(tcp.ProxyProtocolRequired)
				ln := listenTCP(t)
				s.Serve(listen(ln))
				t.Cleanup(s.Close)
				client := dial(t, "tcp", ln.Addr().String())
				send(t, client, header+"x\n")
				conn := testutil.Await(t, "the connection", hijacked)
				defer conn.Close()
				if want == nil {
					want = []string{ln.Addr().String(), client.LocalAddr().String()}
				}
				if diff := cmp.Diff(want, []string{conn.LocalAddr().String(), conn.RemoteAddr().String()}); diff != "" {
					t.Error(diff)
				}
				if !is[interface{ SetLinger(int) error }](conn) || !is[syscall.Conn](conn) {
					t.Errorf("%T lacks some of a TCP connection's methods", conn)
				}
				send(t, conn, "bye\n")
				conn.(interface{ CloseWrite() error }).CloseWrite()
				receiveAll(t, client, "bye\n")
			})
		}
	}
}
