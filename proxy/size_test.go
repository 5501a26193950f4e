package proxy

import (
	"testing"
	"unsafe"
)

// An idle pair has this, what its server keeps of the client, and its places in the set and
// in the loop's table. The allocator has a size of 480 bytes, and the next one is 512.
func TestPairIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(pair{}); size > 480 {
		t.Errorf("%d bytes", size)
	}
}
