package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/testutil"
)

// A process may be stopped for longer than a timeout, by SIGSTOP, or with its machine. What its
// peers have sent meanwhile waits in its sockets. They are served when it goes on.

// stopLimit is the timeout in these tests, and stopTime how long a process is stopped.
const (
	stopLimit = 2 * time.Second
	stopTime  = stopLimit + 300*time.Millisecond
)

// suspend stops the process, and waits until it is stopped.
func (p *process) suspend() {
	p.signal(syscall.SIGSTOP)
	testutil.Eventually(p.t, "the process is stopped", func() bool {
		stat := p.proc("stat")
		return strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " T")
	})
}

// resume has the process go on when its timeouts have expired.
func (p *process) resume() {
	time.Sleep(stopTime)
	p.signal(syscall.SIGCONT)
}

// awaitSocket waits until the process has accepted a connection: it has more descriptors than
// before.
func (p *process) awaitSocket(before descriptorCount) {
	p.t.Helper()
	testutil.Eventually(p.t, "the connection is accepted", func() bool { return p.descriptors().sockets > before.sockets })
}

// suspender is a connection that stops a process before one of its Writes, the first of which
// is 0.
type suspender struct {
	net.Conn
	p        *process
	at       int
	happened chan struct{} // closed then
}

func suspendAt(conn net.Conn, p *process, at int) *suspender {
	return &suspender{conn, p, at, make(chan struct{})}
}

func (s *suspender) Write(b []byte) (int, error) {
	if s.at--; s.at == -1 {
		s.p.suspend()
		defer close(s.happened)
	}
	return s.Conn.Write(b)
}

// A PROXY header, and the line behind it.
func TestStoppedBeforeTheHeader(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprint("half ", half), func(t *testing.T) {
			t.Parallel()
			p := start(t, "--tcp.proxy_protocol=required", "--tcp.proxy_protocol_trusted=127.0.0.1/32",
				"--tcp.proxy_header_timeout="+stopLimit.String())
			const header = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n"
			before, sent := p.descriptors(), 0
			conn := p.dial()
			if half {
				sent = 10
				send(t, conn, header[:sent])
			}
			p.awaitSocket(before)
			p.suspend()
			send(t, conn, header[sent:]+"hello\n")
			p.resume()
			receive(t, conn, "hello\n")
			p.stop()
		})
	}
}

// The hello of a client, or the rest of its handshake.
func TestStoppedInTheHandshake(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for at := range 2 {
			t.Run(fmt.Sprint(tls.VersionName(version), " before message ", at), func(t *testing.T) {
				t.Parallel()
				a := newAuthority(t)
				p := a.startTLS(t, "--tcp.handshake_timeout="+stopLimit.String())
				before := p.descriptors()
				conn := suspendAt(p.dial(), p, at)
				p.awaitSocket(before)
				config := a.Client("localhost")
				config.MaxVersion = version
				client, ended := tls.Client(conn, config), make(chan error, 1)
				go func() { ended <- client.Handshake() }()
				testutil.Await(t, "the process is stopped", conn.happened)
				p.resume()
				if err := testutil.Await(t, "the handshake", ended); err != nil {
					t.Fatal(err)
				}
				echoes(t, client, "hello\n")
				client.Close()
				p.stop()
			})
		}
	}
}

// The answer of an upstream in the handshake with it.
func TestStoppedInTheHandshakeWithAnUpstream(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for at := range 2 {
			if at == 1 && version == tls.VersionTLS13 {
				continue // it has one part, and tickets
			}
			t.Run(fmt.Sprint(tls.VersionName(version), " before message ", at), func(t *testing.T) {
				t.Parallel()
				a := newAuthority(t)
				cert, err := tls.X509KeyPair(a.Issue(t, "localhost"))
				if err != nil {
					t.Fatal(err)
				}
				config := &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version}
				arrived, suspended := make(chan net.Conn, 1), make(chan *suspender, 1)
				upstream := serveUpstream(t, func(conn *net.TCPConn) {
					arrived <- conn
					s := <-suspended
					serveLines(tls.Server(s, config))
				})
				p := a.startTLSProxy(t, asLocalhost(upstream), "--proxy.connect_timeout="+stopLimit.String())
				client := p.dial()
				conn := suspendAt(testutil.Await(t, "the connect", arrived), p, at)
				suspended <- conn
				testutil.Await(t, "the process is stopped", conn.happened)
				p.resume()
				echoes(t, client, "hello\n")
				client.Close()
				p.stopQuiet()
			})
		}
	}
}

// serveLines sends back what it receives.
func serveLines(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 100)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		if _, err := conn.Write(b[:n]); err != nil {
			return
		}
	}
}

// The end of a connect to an upstream, on an event loop or, with a name, in a goroutine.
func TestStoppedInTheConnect(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			ln, full := fullListener(t)
			port := ln.Addr().(*net.TCPAddr).Port
			p := startProxy(t, fmt.Sprintf("%s:%d", host, port), "--proxy.connect_timeout="+stopLimit.String())
			client := p.dial()
			testutil.Eventually(t, "the connect has begun", func() bool { return connecting(p.proc("net/tcp"), port) })
			p.suspend()
			go accept(ln)
			for _, conn := range full {
				conn.Close()
			}
			p.resume()
			echoes(t, client, "hello\n")
			client.Close()
			p.stopQuiet()
		})
	}
}

// connecting reports whether a list of sockets (proc_net_tcp) has one that waits for the answer
// to its SYN to a port.
func connecting(list string, port int) bool {
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 3 && f[3] == "02" && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) {
			return true
		}
	}
	return false
}

// fullListener has a queue without room, so the kernel does not answer a further SYN; full are the
// connections in it.
func fullListener(t *testing.T) (ln net.Listener, full []net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { unix.Listen(int(fd), 0) })
	for {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), 200*time.Millisecond)
		if err != nil {
			return ln, full
		}
		t.Cleanup(func() { conn.Close() })
		if full = append(full, conn); len(full) > 1000 {
			t.Skip("this system's queue does not get full")
		}
	}
}

// accept serves the clients of ln until that is closed.
func accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go serveLines(conn)
	}
}
