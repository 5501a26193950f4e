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

// Each client with TLS has one. 32 bytes are a size class of the allocator, and the next one is 48.
func TestSpecialIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(special{}); size > 32 {
		t.Errorf("%d bytes", size)
	}
}
