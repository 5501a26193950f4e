package proxy

import (
	"encoding/binary"
	"net"
	"slices"

	"wireline/handler"
)

// WithoutLoops has every connection of x served by goroutines, as on systems without event
// loops.
func WithoutLoops(x *Proxy) { x.loops.Stop() }

// FirstChoices counts where the first choice of so many clients falls.
func FirstChoices(cfg Config, clients int) []int {
	x := &Proxy{Config: cfg}
	x.init()
	defer x.Close()
	count := make([]int, len(cfg.Upstreams))
	for _, i := range Choices(x, clients) {
		count[i]++
	}
	return count
}

// Choices returns the index of the first choice of so many clients.
func Choices(x *Proxy, clients int) []int {
	x.init()
	choices := make([]int, clients)
	for i := range choices {
		ip := make(net.IP, 4)
		binary.BigEndian.PutUint32(ip, uint32(i)*2654435761)
		s := x.settings.Load()
		c := s.choose(&pair{accepted: from{ip: ip}})
		choices[i] = slices.Index(s.upstreams, c.next())
	}
	return choices
}

// from is a client with this address.
type from struct {
	handler.Accepted
	ip net.IP
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: f.ip} }

// Delivered reports whether the pairs of x have written all that they have read, and noted it.
func Delivered(x *Proxy) bool {
	for p := range x.pairs.Range {
		p.mu.Lock()
		waiting := p.client.flow.read - p.client.flow.written + p.upstream.flow.read - p.upstream.flow.written
		p.mu.Unlock()
		if waiting > 0 {
			return false
		}
	}
	return true
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

// LookedOnce reports whether the idle timeout of a pair has expired, and the pair waits for a second
// look at what the system still delivers.
func LookedOnce(x *Proxy) (yes bool) {
	x.pairs.Range(func(p *pair) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		yes = p.wire.phase == relaying && p.wire.sampled > p.wire.activity
		return !yes
	})
	return yes
}

// ErrPanicked is why a handshake has failed in which a function of TLSConfig panicked.
var ErrPanicked = errPanicked
