package proxy

import (
	"encoding/binary"
	"net"
)

// WithoutLoops has every connection of x served by goroutines, as on systems without event
// loops.
func WithoutLoops(x *Proxy) { x.loops.Stop() }

// FirstChoices counts where the first choice of so many clients falls.
func FirstChoices(cfg Config, clients int) []int {
	x := &Proxy{Config: cfg}
	x.init()
	defer x.Close()
	count := make([]int, len(x.upstreams))
	for i := range clients {
		ip := make(net.IP, 4)
		binary.BigEndian.PutUint32(ip, uint32(i)*2654435761)
		c := x.choose(func() net.Addr { return &net.TCPAddr{IP: ip} })
		count[c.next().index]++
	}
	return count
}

// Corrupt makes the pairs of x panic, under their locks, when something happens to them.
func Corrupt(x *Proxy) {
	x.pairs.Range(func(p *pair) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wire.cfg = nil
		return true
	})
}

// ErrPanicked is why a handshake has failed in which a function of TLSConfig panicked.
var ErrPanicked = errPanicked
