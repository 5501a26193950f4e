package memlimit

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length   uint32
	load     uint32
	physical uint64
	_        [6]uint64
}

var globalMemoryStatus = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

// cgroup returns zero: there are none.
func cgroup() int64 { return 0 }

// machine returns the memory of the machine; zero if it is not known.
func machine() int64 {
	if globalMemoryStatus.Find() != nil {
		return 0
	}
	var s memoryStatus
	s.length = uint32(unsafe.Sizeof(s))
	if ok, _, _ := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return 0
	}
	return int64(s.physical)
}
