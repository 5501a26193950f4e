package transport

// For tests outside the package.
const (
	MaxRecord = maxRecord
	MaxAhead  = maxAhead
	MaxQueued = maxQueued
)

// KeepsBuffer reports whether t holds memory for output.
func KeepsBuffer(t *TLS) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return cap(t.queue.Tail()) > 0 || cap(t.queue.Head()) > 0
}
