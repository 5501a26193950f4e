// Package memlimit finds out how much memory the process may use.
package memlimit

import (
	"math"
	"runtime/debug"
)

// unknown is the result on systems that do not tell.
const unknown = 1 << 30

// SetForCgroup sets the limit of the garbage collector (GOMEMLIMIT) to nine tenths of the limit
// of the cgroup, if there is one and GOMEMLIMIT is not set. Otherwise the collector lets garbage
// grow to the size of what is in use, and the kernel may kill the process.
func SetForCgroup() {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	if n := cgroup(); n > 0 && n < machine() {
		debug.SetMemoryLimit(n - n/10)
	}
}

// Get returns how many bytes of memory the process may use: the least of GOMEMLIMIT, the limits
// of its cgroup, and the memory of the machine. If nothing is known, it is 1 GiB.
func Get() int64 {
	limit := debug.SetMemoryLimit(-1) // math.MaxInt64 if there is none
	for _, n := range []int64{machine(), cgroup()} {
		if n > 0 {
			limit = min(limit, n)
		}
	}
	if limit == math.MaxInt64 {
		return unknown
	}
	return limit
}
