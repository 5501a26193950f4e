package handshakes

import (
	"testing"
	"unsafe"
)

// A plain handler's connection keeps its Conn. 96 bytes are a size class of the allocator.
func TestConnIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 96 {
		t.Errorf("%d bytes", size)
	}
}
