package proxy

import "testing"

// What waits to be written is kept in a buffer of its size, also where each write is reported later.
func TestKeptIsSmall(t *testing.T) {
	for n, want := range map[int]int{0: 0, 3: smallSize, smallSize: smallSize, smallSize + 1: bufferSize, bufferSize: bufferSize} {
		m := newModel(Config{}, [2]kind{{overlapped: true}})
		client, upstream := m.ends[clientSide], m.ends[upstreamSide]
		client.stalled = true
		upstream.sends(n)
		m.run()
		if got := m.pair.upstream.kept(); got != want {
			t.Errorf("%d bytes are kept in %d, want %d", n, got, want)
		}
		client.setStalled(false)
		m.run()
		if client.got != n || m.pair.upstream.kept() != 0 || len(m.wrong) > 0 {
			t.Errorf("%d of %d bytes arrive, %d are kept, %q", client.got, n, m.pair.upstream.kept(), m.wrong)
		}
	}
}
