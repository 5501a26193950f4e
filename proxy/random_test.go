package proxy_test

import (
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/proxy"
)

// Whatever clients and upstreams do, what arrives is what was sent, and nothing is left
// behind.
func TestRandomEnds(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{})
		const pairs = 60
		go func() {
			for {
				conn, err := s.upstream.Accept()
				if err != nil {
					return
				}
				go behave(t, conn, "upstream")
			}
		}()
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for range pairs / 6 {
					conn, err := s.dial()
					if isReset(err) {
						continue // its upstream was faster
					}
					if err != nil {
						t.Error(err)
						return
					}
					behave(t, conn, "client")
				}
			})
		}
		wg.Wait()
		served := uint64(pairs)
		if runtime.GOOS == "windows" { // which accepts no connection that was reset before
			served = s.server.TCP.Stats().Accepted
		}
		for range served {
			s.records.Next(t)
		}
		eventually(t, "the pair's end", func() bool { return s.proxy.Upstreams()[0].Active == 0 })
	})
}

// stream is what everybody sends in TestRandomEnds, as far as he gets.
var stream = pattern(1 << 20)

// behave sends a part of the stream, and ends the connection in some way; what it reads
// has to be the stream as well, as far as it goes.
func behave(t *testing.T, conn net.Conn, who string) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	n := rand.IntN(2)*rand.IntN(len(stream)-1000) + rand.IntN(1000)
	end := rand.IntN(4)
	var wg sync.WaitGroup
	wg.Go(func() {
		io.WriteString(conn, stream[:n])
		switch end {
		case 0:
			netconn.Reset(conn)
		case 1:
			conn.Close()
		default:
			netconn.CloseWrite(conn)
		}
	})
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for got := 0; ; {
			n, err := conn.Read(b)
			if string(b[:n]) != stream[got:got+n] {
				t.Errorf("the %s reads something else than was sent, after %d bytes", who, got)
			}
			if got += n; err != nil {
				return
			}
		}
	})
	wg.Wait()
}
