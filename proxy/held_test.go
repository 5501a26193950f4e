package proxy_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"wireline/handler"
	"wireline/proxy"
)

// What pairs keep for clients that do not read is bounded together, and the others go on.
func TestMemoryOfPairs(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		memory := &handler.Memory{Limit: 5 << 10} // a buffer is 2 KiB, or 32
		s, ln := tr.prepare(t, proxy.Config{}, nil)
		s.server.TCP.Memory = memory
		s.server.Serve(ln)
		t.Cleanup(s.server.Close)
		good, goodUpstream := s.pair()
		var sending sync.WaitGroup
		clients, upstreams := []net.Conn{good}, []net.Conn{}
		for range 3 {
			client, upstream := s.pair()
			clients, upstreams = append(clients, client), append(upstreams, upstream)
		}
		for _, upstream := range upstreams {
			sending.Go(func() { io.Copy(upstream, endless{}) }) // until the pair is ended
		}
		ended := 0
		eventually(t, "the limit to hold", func() bool {
			send(t, good, "hello")
			receive(t, goodUpstream, "hello")
			for ; len(s.records.All) > 0; ended++ {
				r := s.records.Next(t)
				if r.Reason != handler.ReasonMemory || r.By != handler.ByServer || r.Err == nil {
					t.Errorf("record %+v, want the reason memory", r)
				}
			}
			return ended >= 1 && memory.Used() <= memory.Limit
		})
		for _, conn := range clients {
			conn.Close()
		}
		sending.Wait()
		eventually(t, "nothing to be kept", func() bool { return memory.Used() == 0 })
	})
}

// endless is a stream of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }
