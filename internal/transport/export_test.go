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
	return t.queue != nil
}
