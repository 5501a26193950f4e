package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/testutil"

	"github.com/pires/go-proxyproto"
)

// Clients send random bytes in random pieces and end their connections in random ways. The
// process must be as before afterwards.
func TestFuzzServer(t *testing.T) {
	skipShort(t)
	const clients, interval, most = 16, 4 * time.Second, 60_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	a := newAuthority(t)
	timeouts := []string{"--log.connections=false", "--echo.idle_timeout=1s", "--echo.frame_timeout=1s",
		"--tcp.handshake_timeout=1s", "--tcp.proxy_header_timeout=1s", "--tcp.proxy_protocol_trusted=127.0.0.0/8"}
	servers := []struct {
		name string
		*process
		good       goodClient
		held, anon int
	}{
		{"plain", start(t, timeouts...), plainClient(""), 0, 0},
		{"PROXY", start(t, append(timeouts, "--tcp.proxy_protocol=optional")...), plainClient(""), 0, 0},
		{"TLS", a.startTLS(t, append(timeouts, "--log.level=info")...), tlsClient(a.Client("localhost")), 0, 0},
	}
	fuzz := func(seed uint64, ends time.Time, most int64) int64 {
		var done atomic.Int64
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for time.Now().Before(ends) && done.Add(1) <= most {
					throw(r, servers[r.IntN(len(servers))].addr, a.Client("localhost"))
				}
			})
		}
		all.Wait()
		return done.Load()
	}
	for i := range servers {
		servers[i].held = servers[i].process.sockets(servers[i].good)
	}
	fuzz(seed+1, time.Now().Add(interval/2), most) // memory that the first attack needs is reused
	for i := range servers {
		servers[i].awaitDescriptors(servers[i].held)
		servers[i].anon = servers[i].memory()
	}
	n := fuzz(seed, time.Now().Add(interval), most)
	t.Logf("%d connections", n)
	if n < 100 {
		t.Errorf("%d connections, want thousands", n)
	}
	for _, s := range servers {
		if s.ended() {
			t.Fatalf("%s: the process has ended", s.name)
		}
		for range 10 {
			if err := s.good(s.process); err != nil {
				t.Errorf("%s: the good client: %v", s.name, err)
			}
		}
		s.awaitDescriptors(s.held)
		grown := s.memory() - s.anon
		t.Logf("%s: %s more", s.name, mebibytes(grown))
		if grown > 16<<20 && !testutil.RaceEnabled {
			t.Errorf("%s grew by %s, want less than 16 MiB", s.name, mebibytes(grown))
		}
		s.stop()
		if said := s.stderr.String(); strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") || strings.Contains(said, "DATA RACE") {
			t.Errorf("%s: the log shows a panic", s.name)
		}
		for _, e := range s.log() {
			// Invalid TLS records are the client's fault, and appear in its record.
			if e["level"] != "INFO" && e["by"] != "client" {
				t.Errorf("%s logged %v", s.name, e)
			}
		}
		if drained := s.await("msg", "drained"); drained["cut"] != "0" {
			t.Errorf("%s: %v, want no client left", s.name, drained)
		}
	}
}

// throw makes one connection. Its outcome does not matter.
func throw(r *rand.Rand, addr string, cfg *tls.Config) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return
	}
	defer conn.Close()
	patient := 100 * time.Millisecond
	if r.IntN(100) == 0 {
		patient = 1500 * time.Millisecond // longer than the server's timeouts
	}
	conn.SetDeadline(time.Now().Add(patient))
	tcp := conn.(*net.TCPConn)
	tcp.SetNoDelay(r.IntN(4) > 0)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close() // ends the reading goroutine
	whole := r.IntN(8) == 0
	for range 1 + r.IntN(4) {
		if whole && r.IntN(2) == 0 { // a valid handshake, if the server speaks TLS
			inner := tls.Client(conn, cfg)
			if inner.Handshake() == nil {
				scatter(r, inner, material(r))
				if r.IntN(2) == 0 {
					inner.CloseWrite()
				}
			}
			continue
		}
		scatter(r, conn, material(r))
	}
	if reads := r.IntN(3); reads == 0 {
		reader.Go(func() { io.Copy(io.Discard, conn) })
	} else if reads == 1 {
		conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		conn.Read(make([]byte, 1+r.IntN(100)))
	}
	switch r.IntN(5) {
	case 0:
		tcp.SetLinger(0) // a RST
	case 1:
		tcp.CloseWrite()
		conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		io.Copy(io.Discard, conn)
	case 2:
		tcp.CloseWrite()
		tcp.SetLinger(0)
	case 3:
		tcp.CloseRead()
		scatter(r, conn, material(r))
	}
}

// scatter writes b in pieces, with some pauses.
func scatter(r *rand.Rand, w io.Writer, b []byte) {
	pieces := r.IntN(6)
	for ; len(b) > 0; pieces-- {
		n := len(b)
		if pieces > 0 {
			n = r.IntN(min(n, 1+r.IntN(n))) + 1
		}
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
		if r.IntN(20) == 0 {
			time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond) // clients may pause
		}
	}
}

// material returns random input.
func material(r *rand.Rand) []byte {
	var b []byte
	switch r.IntN(7) {
	case 0:
		b = noise(r, r.IntN(300))
	case 1:
		b = noise(r, r.IntN(100_000)) // may exceed the longest line
	case 2:
		for range r.IntN(200) {
			b = append(append(b, strings.Repeat("x", r.IntN(50))...), [2]string{"\n", "\r\n"}[r.IntN(2)]...)
		}
	case 3, 4:
		b = proxyHeader(r)
	default:
		b = clientHello(r)
	}
	switch r.IntN(6) {
	case 0: // truncated
		b = b[:r.IntN(len(b)+1)]
	case 1: // changed
		for range r.IntN(4) {
			if len(b) > 0 {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
		}
	case 2:
		b = append(b, "hello\n"...)
	}
	return b
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// proxyHeader returns a random PROXY header of version 1 or 2.
func proxyHeader(r *rand.Rand) []byte {
	port := func() int { return r.IntN(1 << 16) }
	header := proxyproto.HeaderProxyFromAddrs(byte(1+r.IntN(2)),
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(r.Uint32())), Port: port()},
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(r.Uint32())), Port: port()})
	switch r.IntN(4) {
	case 0:
		header.Command = proxyproto.LOCAL
	case 1:
		header.TransportProtocol = proxyproto.TCPv6
		header.SourceAddr = &net.TCPAddr{IP: noise(r, 16), Port: port()}
		header.DestinationAddr = &net.TCPAddr{IP: noise(r, 16), Port: port()}
	case 2:
		header.TransportProtocol = proxyproto.UNSPEC
	}
	if header.Version == 2 && r.IntN(2) == 0 {
		header.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2Type(r.Uint32()), Value: noise(r, r.IntN(5000))}})
	}
	if b, err := header.Format(); err == nil {
		return b
	}
	return fmt.Appendf(nil, "PROXY UNKNOWN %x\r\n", noise(r, r.IntN(60)))
}

// clientHello returns the first message of a TLS handshake.
func clientHello(r *rand.Rand) []byte {
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{strings.Repeat("p", 1+r.IntN(200))}}
	if r.IntN(2) == 0 {
		cfg.MaxVersion = tls.VersionTLS12
	}
	var conn recorder
	tls.Client(&conn, cfg).Handshake() // fails at the first read
	return conn.sent
}

// recorder is a connection without a peer; it records what is written.
type recorder struct {
	net.Conn
	sent []byte
}

func (c *recorder) Write(b []byte) (int, error) {
	c.sent = append(c.sent, b...)
	return len(b), nil
}

func (c *recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *recorder) Close() error                     { return nil }
func (c *recorder) SetDeadline(time.Time) error      { return nil }
func (c *recorder) SetWriteDeadline(time.Time) error { return nil }
