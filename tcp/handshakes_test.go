package tcp_test

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// counted is a server whose handshakes are counted while they compute.
type counted struct {
	*tcptest.Server
	now, most atomic.Int32
	client    *tls.Config
}

// startCounted starts a server with at most max handshakes at a time; in each of them work
// is called.
func startCounted(t *testing.T, cfg tcp.Config, max int, work func(name string)) *counted {
	t.Helper()
	c := newCounted(t, cfg, max, work)
	c.Start()
	return c
}

// newCounted is startCounted without Start.
func newCounted(t *testing.T, cfg tcp.Config, max int, work func(name string)) *counted {
	t.Helper()
	a := testutil.NewAuthority(t)
	cert, err := tls.X509KeyPair(a.Issue(t, "first"))
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Server: tcptest.NewUnstartedServer(echo()), client: a.Client("first")}
	cfg.TLS.MaxHandshakes = max
	c.TCP.Config = cfg
	c.TCP.TLSConfig = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		now := c.now.Add(1)
		defer c.now.Add(-1)
		for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
		}
		work(hello.ServerName)
		return &cert, nil
	}}
	t.Cleanup(c.Close)
	return c
}

// forLong has a timeout that a test does not wait for.
var forLong = tcp.Config{HandshakeTimeout: 2 * patience}

// awaitPlaces waits until all places are free.
func (c *counted) awaitPlaces(t *testing.T) {
	t.Helper()
	eventually(t, "all places are free", func() bool {
		stats := c.TCP.Stats()
		return stats.ComputingHandshakes == 0 && stats.QueuedHandshakes == 0
	})
}

// hello returns the first bytes that a client sends.
func hello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go tls.Client(theirs, &tls.Config{ServerName: "first"}).Handshake()
	b := make([]byte, 4096)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// Not more handshakes than are allowed are computed at a time. One that takes long gives up its
// place, so this has a clock of its own: on a busy machine any takes long.
func TestMaxHandshakes(t *testing.T) {
	for _, max := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			s := newCounted(t, forLong, max, func(string) { time.Sleep(2 * time.Millisecond) })
			s.Serve(tcptest.Listen())
			var clients sync.WaitGroup
			for range 50 {
				clients.Go(func() {
					if _, err := knock(t, s.Server, s.client); err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
			if most := s.most.Load(); most != int32(max) {
				t.Errorf("%d handshakes were computed at the same time, want %d", most, max)
			}
		})
	}
}

// Peers that fall silent in any part of the handshake hold up nobody.
func TestMaxHandshakesOfSilentPeers(t *testing.T) {
	s := startCounted(t, forLong, 1, func(string) {})
	whole := hello(t)
	for i := range 100 {
		conn := dial(t, "tcp", s.Addr)
		switch i % 4 {
		case 0: // says nothing
		case 1:
			send(t, conn, string(whole[:3])) // not even the header of the record
		case 2:
			send(t, conn, string(whole[:len(whole)/2]))
		case 3:
			send(t, conn, string(whole)) // gets the server's flight, and does not answer
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.awaitPlaces(t)
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			conn, err := tls.Dial("tcp", s.Addr, s.client)
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		})
	}
	clients.Wait()
}

// More places are used.
func TestMaxHandshakesOfSeveral(t *testing.T) {
	g := newGate(t)
	s := startCounted(t, tcp.Config{}, 3, func(string) { g.work("hold") })
	for range 5 {
		go func() {
			if conn, err := tls.Dial("tcp", s.Addr, s.client); err == nil {
				conn.Close()
			}
		}()
	}
	for range 3 {
		testutil.Await(t, "a handshake", g.holding)
	}
	eventually(t, "the others are in the queue or have come in for those that take long", func() bool {
		stats := s.TCP.Stats()
		return stats.ComputingHandshakes == 3 && stats.QueuedHandshakes == 2 || s.most.Load() > 3
	})
	g.open()
	eventually(t, "all are served", func() bool { return s.TCP.Stats().Accepted == 5 })
}

// A GetCertificate that blocks, as one does that asks another server, holds up the others
// for a moment only.
func TestMaxHandshakesBehindOneThatBlocks(t *testing.T) {
	g := newGate(t)
	s := startCounted(t, tcp.Config{}, 1, func(name string) {
		if name == "hold" {
			g.work("hold")
		}
	})
	for range 3 {
		client := s.client.Clone()
		client.ServerName = "hold"
		go tls.Client(dial(t, "tcp", s.Addr), client).Handshake()
		testutil.Await(t, "the handshake that blocks", g.holding)
	}
	began := time.Now()
	exchange(t, mustDialTLS(t, s.Addr, s.client), "hello\n")
	if took := time.Since(began); took > testutil.Slack {
		t.Errorf("took %v", took)
	}
	g.open()
}

// The wait in the queue is bounded by the timeout of the handshake.
func TestMaxHandshakesTimeout(t *testing.T) {
	g := newGate(t)
	s := startCounted(t, tcp.Config{HandshakeTimeout: 100 * time.Millisecond}, 1, func(string) { g.work("hold") })
	for range 3 {
		go tls.Client(dial(t, "tcp", s.Addr), s.client).Handshake()
	}
	testutil.Await(t, "the first one", g.holding)
	eventually(t, "those in the queue have failed", func() bool { return s.TCP.Stats().FailedHandshakes >= 2 || s.most.Load() > 1 })
	g.open()
	eventually(t, "the one that had the place is over", func() bool { // it may still have had time
		stats := s.TCP.Stats()
		return stats.FailedHandshakes+stats.Accepted == 3
	})
}

// Peers that take nothing of the server's flight have no place either.
func TestMaxHandshakesWhileWriting(t *testing.T) {
	s := startCounted(t, forLong, 1, func(string) {})
	ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	serve(t.Context(), t, s.TCP, ln)
	whole := hello(t)
	for range 20 {
		theirs, ours := net.Pipe() // which has no buffer
		t.Cleanup(func() { theirs.Close() })
		ln.conns <- ours
		send(t, theirs, string(whole))
		if _, err := theirs.Read(make([]byte, 1)); err != nil { // the rest of the flight waits
			t.Fatal(err)
		}
	}
	s.awaitPlaces(t)
	exchange(t, mustDialTLS(t, s.Addr, s.client), "hello\n")
}

// pipes is a listener whose connections come from a channel.
type pipes struct {
	net.Listener
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }
