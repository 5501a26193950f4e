package e2e

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// In these tests some clients attack the server. The tests check that the other clients are
// still served.

// awaitDescriptors waits until the process has at most that many sockets.
func (p *process) awaitDescriptors(sockets int) {
	p.t.Helper()
	for begin := time.Now(); ; {
		got := p.descriptors().sockets
		if got <= sockets {
			return
		}
		if time.Since(begin) > patience {
			p.t.Fatalf("%d sockets, want %d as before", got, sockets)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// sockets returns how many sockets the server has while it serves no client. It serves a
// client first, and may not have noticed yet that this one has left.
func (p *process) sockets(good goodClient) int {
	p.t.Helper()
	for range 10 {
		if err := good(p); err != nil {
			p.t.Fatal(err)
		}
	}
	most := 3 // a listener, its duplicate, and the last client
	p.awaitDescriptors(most)
	return most
}

// goodClient connects, sends a line and reads its reply.
type goodClient func(p *process) error

func plainClient(begin string) goodClient {
	return func(p *process) error {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		return tryEcho(conn, begin)
	}
}

func tlsClient(cfg *tls.Config) goodClient {
	return func(p *process) error {
		plain, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			return err
		}
		defer plain.Close()
		plain.SetDeadline(time.Now().Add(patience))
		return tryEcho(tls.Client(plain, cfg), "")
	}
}

// servedWhile has a good client connect again and again while f runs, and checks that it is
// served about as fast as before.
func servedWhile(t *testing.T, p *process, good goodClient, f func()) {
	t.Helper()
	visit := func() time.Duration {
		begin := time.Now()
		if err := good(p); err != nil {
			t.Errorf("the good client failed: %v", err)
		}
		return time.Since(begin)
	}
	var before, during []time.Duration
	for range 50 {
		before = append(before, visit())
	}
	done := make(chan struct{})
	var visits sync.WaitGroup
	visits.Go(func() {
		for !t.Failed() {
			during = append(during, visit())
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond): // or it would be an attack itself
			}
		}
	})
	f()
	close(done)
	visits.Wait()
	slices.Sort(before)
	slices.Sort(during)
	was, is := before[len(before)/2], during[len(during)/2]
	t.Logf("the good client was served %d times, half of them within %v, all within %v; before that half within %v",
		len(during), is, during[len(during)-1], was)
	// A client that is blocked by one of the others would wait for seconds.
	if is > 10*was+500*time.Millisecond {
		t.Errorf("the good client was served after %v, before that after %v", is, was)
	}
}

// Thousands of clients connect and send nothing. Each is closed when its timeout expires;
// until then it uses little memory and blocks no other client.
func TestHostileSilence(t *testing.T) {
	skipShort(t)
	needDescriptors(t, silentClients+200)
	a := newAuthority(t)
	for _, test := range []silence{
		{"TLS", func(t *testing.T, timeout time.Duration) *process {
			return a.startTLS(t, "--log.level=info", "--log.connections=false", "--tcp.handshake_timeout="+timeout.String())
		}, tlsClient(a.Client("localhost")), 20 << 10},
		{"PROXY header", func(t *testing.T, timeout time.Duration) *process {
			return start(t, headerRequired("--log.connections=false", "--tcp.proxy_header_timeout="+timeout.String())...)
		}, plainClient("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"), 20 << 10},
		{"line", func(t *testing.T, timeout time.Duration) *process {
			return start(t, "--log.connections=false", "--echo.idle_timeout="+timeout.String())
		}, plainClient(""), 3 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			testutil.InTime(t, 4*time.Second, func(timeout time.Duration) error { return test.try(t, timeout) })
		})
	}
}

// silentClients is how many there are in TestHostileSilence.
const silentClients = 5000

// silence is a server of TestHostileSilence.
type silence struct {
	name  string
	start func(t *testing.T, timeout time.Duration) *process
	good  goodClient
	bound int // bytes per client
}

// try returns ErrLate if the clients did not come within the timeout of the first.
func (s *silence) try(t *testing.T, timeout time.Duration) (late error) {
	p := s.start(t, timeout)
	before, memory := p.sockets(s.good), p.memory()
	most := p.peak(func() {
		servedWhile(t, p, s.good, func() { late = beSilent(t, p, timeout) })
	})
	grown := most - memory
	t.Logf("%s more at most, %d bytes per client", mebibytes(grown), grown/silentClients)
	if grown > silentClients*s.bound && !testutil.RaceEnabled {
		t.Errorf("grew by %d bytes per client, want less than %d", grown/silentClients, s.bound)
	}
	p.awaitDescriptors(before)
	p.stopQuiet()
	return late
}

// beSilent has silentClients connect, and waits until the server has closed each when its timeout
// expires. It returns ErrLate if that was before all of them had come.
func beSilent(t *testing.T, p *process, timeout time.Duration) error {
	const patient = 10 * time.Second
	conns := make([]net.Conn, silentClients)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	var all sync.WaitGroup
	defer all.Wait()
	var held atomic.Int64
	began := time.Now()
	for i := range conns {
		begin := time.Now() // before the server can accept it
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			t.Errorf("silent client %d: %v", i, err)
			return nil
		}
		conns[i] = conn
		held.Add(1)
		conn.SetDeadline(begin.Add(timeout + patient))
		all.Go(func() {
			n, err := io.Copy(io.Discard, conn)
			took := time.Since(begin)
			held.Add(-1)
			if n > 100 || errors.Is(err, os.ErrDeadlineExceeded) || took < timeout*9/10 {
				t.Errorf("silent client %d received %d bytes, %v, after %v; want the FIN after %v", i, n, err, took, timeout)
			}
		})
	}
	took, n := time.Since(began), held.Load()
	t.Logf("%d silent clients within %v, %d at once", silentClients, took, n)
	switch {
	case n == silentClients, testutil.RaceEnabled:
	case took >= timeout:
		return testutil.ErrLate
	default:
		t.Errorf("%d silent clients at once, want %d", n, silentClients)
	}
	return nil
}

// A client that sends, but never completes what it sends, is closed too.
func TestHostileTrickle(t *testing.T) {
	t.Parallel()
	const timeout, interval, patient = 2 * time.Second, time.Second, 8 * time.Second
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on"
	for _, test := range []struct {
		name, sends string
		start       func(t *testing.T) *process
		logs        [2]string
	}{
		{"line", "half a line", func(t *testing.T) *process {
			return start(t, "--echo.frame_timeout="+timeout.String())
		}, [2]string{"reason", "frame_timeout"}},
		{"PROXY header", "PROXY TCP4 192.0.2.1", func(t *testing.T) *process {
			return startHeaderRequired(t, "--tcp.proxy_header_timeout="+timeout.String())
		}, [2]string{"msg", "refused"}},
		{"TLS", hello, func(t *testing.T) *process {
			return newAuthority(t).startTLS(t, "--tcp.handshake_timeout="+timeout.String())
		}, [2]string{"msg", "TLS handshake failed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := test.start(t)
			begin := time.Now() // before the server can accept it
			conn := p.dial()
			send(t, conn, test.sends[:1])
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}()
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for rest := test.sends[1:]; ; rest = rest[1:] {
				select {
				case <-tick.C:
					io.WriteString(conn, rest[:1]) // fails when it is closed
					if time.Since(begin) < patient {
						continue
					}
					t.Fatalf("not closed after %v", time.Since(begin))
				case err := <-ended:
					if took := time.Since(begin); took < timeout*9/10 || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%v after %v, want the FIN after %v", err, took, timeout)
					}
				}
				break
			}
			conn.Close()
			p.await(test.logs[0], test.logs[1])
			p.stopQuiet()
		})
	}
}

// attack connects n clients from the address from, and returns those that are served. The
// others must be reset.
func attack(t *testing.T, p *process, from string, n int) (served []net.Conn) {
	t.Helper()
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			conn, err := dialer.Dial("tcp", p.addr)
			if errors.Is(err, syscall.ECONNRESET) {
				return
			}
			if err != nil {
				t.Errorf("an attacker: %v", err)
				return
			}
			conn.SetDeadline(time.Now().Add(patience))
			err = tryEcho(conn, "")
			if err == nil {
				mu.Lock()
				served = append(served, conn)
				mu.Unlock()
				return
			}
			conn.Close()
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("an attacker: %v, want a reset", err)
			}
		})
	}
	all.Wait()
	t.Cleanup(func() { closeAll(served) })
	return served
}

// awaitServed waits until a client from that address is served.
func awaitServed(t *testing.T, p *process, from string) {
	t.Helper()
	for begin := time.Now(); ; {
		if served := attack(t, p, from, 1); len(served) > 0 {
			served[0].Close()
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("no client from %s is served, although the limit has room again", from)
		}
	}
}

// An address that opens too many connections gets its limit, and the others are served.
func TestHostileAddress(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const limit, attackers = 10, 300
	p := start(t, "--tcp.max_clients_per_ip=10", "--log.connections=false")
	before := p.sockets(plainClient(""))
	for round := range 3 {
		var served []net.Conn
		servedWhile(t, p, plainClient(""), func() {
			for range 4 { // the first gets the whole limit
				served = append(served, attack(t, p, "127.0.0.2", attackers)...)
			}
		})
		if len(served) != limit {
			t.Errorf("round %d: %d of %d attackers served, want %d", round, len(served), attackers, limit)
		}
		closeAll(served)
		awaitServed(t, p, "127.0.0.2")
		p.awaitDescriptors(before) // the server has noticed that all of them have left
	}
	p.stopQuiet()
}

// When the server is full and refuses, its clients go on, and new ones are accepted when some
// leave.
func TestHostileCrowd(t *testing.T) {
	t.Parallel()
	const limit, inside, attackers = 50, 10, 300
	p := start(t, "--tcp.max_clients=50", "--tcp.when_full=refuse", "--log.connections=false")
	conns := crowd(t, p.addr, inside, "hello\n", "hello\n")
	done := make(chan struct{})
	var guests sync.WaitGroup
	for _, conn := range conns {
		guests.Go(func() {
			for ended := false; !ended; {
				select {
				case <-done:
					ended = true // one more round
				default:
				}
				if err := tryEcho(conn, ""); err != nil {
					t.Errorf("a connected client: %v", err)
					return
				}
			}
		})
	}
	var served []net.Conn
	for range 3 {
		more := attack(t, p, "127.0.0.2", attackers)
		served = append(served, more...)
	}
	if len(served) != limit-inside {
		t.Errorf("%d attackers served, want %d", len(served), limit-inside)
	}
	close(done)
	guests.Wait()
	closeAll(served)
	awaitServed(t, p, "127.0.0.1")
	p.stopQuiet()
}
