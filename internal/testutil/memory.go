package testutil

import "runtime"

// Heap collects garbage and returns how many bytes of the heap are in use.
func Heap() int64 {
	runtime.GC()
	runtime.GC() // the first one only empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
