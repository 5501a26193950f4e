package transport

import (
	"testing"
	"unsafe"
)

// Each connection under TLS has one. The allocator has a size of 128 bytes, and the next one is 144.
func TestTLSIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(TLS{}); size > 128 {
		t.Errorf("%d bytes", size)
	}
}

// QueueCap is asked after each event, and does not wait for a write that is under way.
func TestQueueCapOfNothingTakesNoLock(t *testing.T) {
	var c TLS
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.QueueCap(); n != 0 {
		t.Errorf("%d bytes", n)
	}
}
