package e2e

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// A process that was stopped past a read timeout looks at its sockets before it calls a client late:
// what has arrived meanwhile is served. A client that has sent nothing is late.
func TestStoppedPastATimeout(t *testing.T) {
	for _, test := range []stoppedFrames{
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
			testutil.InTime(t, 500*time.Millisecond, func(timeout time.Duration) error { return test.try(t, timeout) })
		})
	}
}

// stoppedFrames are clients that send a part of their line before their server is stopped.
type stoppedFrames struct{ key, before string }

// try returns ErrLate if the server was stopped too late: a timeout may have expired before.
func (s *stoppedFrames) try(t *testing.T, timeout time.Duration) error {
	const clients = 100
	p := start(t, "--echo."+s.key+"="+timeout.String(), "--log.connections=false")
	begin := time.Now()
	var conns []net.Conn
	for range clients + 1 {
		conn := p.dial()
		io.WriteString(conn, s.before) // fails if it is too late
		conns = append(conns, conn)
	}
	p.suspend()
	if time.Since(begin) >= timeout {
		p.kill()
		return testutil.ErrLate
	}
	late := conns[clients]
	for _, conn := range conns[:clients] {
		send(t, conn, "hello\n"[len(s.before):])
	}
	time.Sleep(timeout + timeout/2) // the test needs this delay
	p.signal(syscall.SIGCONT)
	for _, conn := range conns[:clients] {
		tcptest.Receive(t, conn, "hello\n")
	}
	receiveRest(t, late, "")
	return nil
}
