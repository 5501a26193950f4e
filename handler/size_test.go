package handler

import (
	"testing"
	"unsafe"
)

// An idle client is small. 288 bytes are a size class of the allocator.
func TestClientIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Client{}); size > 288 {
		t.Errorf("a Client takes %d bytes, want at most 288", size)
	}
	t.Log(unsafe.Sizeof(endState{}))
}
