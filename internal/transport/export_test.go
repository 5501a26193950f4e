package transport

import "wireline/internal/eventloop"

// For tests outside the package.
const (
	MaxRecord = maxRecord
	MaxAhead  = maxAhead
	MaxQueued = maxQueued
)

// UseNew is what Attach does with t and the poll that it has made.
func UseNew(t *TLS, poll eventloop.Conn) { t.useNew(poll) }

// KeepsBuffer reports whether t holds memory for output.
func KeepsBuffer(t *TLS) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue != nil
}
