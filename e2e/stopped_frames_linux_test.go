package e2e

import (
	"net"
	"syscall"
	"testing"
	"time"

	"wireline/tcptest"
)

// A process that was stopped past a read timeout looks at its sockets before it calls a client late:
// what has arrived meanwhile is served. A client that has sent nothing is late.
func TestStoppedPastATimeout(t *testing.T) {
	const timeout = 500 * time.Millisecond
	for _, test := range []struct{ key, before string }{
		{"idle_timeout", ""},
		{"idle_timeout", "hel"},
		{"read_timeout", ""},
		{"read_timeout", "hel"},
		{"frame_timeout", "hel"},
		{"first_frame_timeout", ""},
		{"first_frame_timeout", "hel"},
	} {
		t.Run(test.key+" "+test.before, func(t *testing.T) {
			t.Parallel()
			const clients = 100
			p := start(t, "--echo."+test.key+"="+timeout.String(), "--log.connections=false")
			var conns []net.Conn
			for range clients + 1 {
				conn := p.dial()
				send(t, conn, test.before)
				conns = append(conns, conn)
			}
			p.suspend()
			late := conns[clients]
			for _, conn := range conns[:clients] {
				send(t, conn, "hello\n"[len(test.before):])
			}
			time.Sleep(timeout + timeout/2) // the test needs this delay
			p.signal(syscall.SIGCONT)
			for _, conn := range conns[:clients] {
				tcptest.Receive(t, conn, "hello\n")
			}
			receiveRest(t, late, "")
		})
	}
}
