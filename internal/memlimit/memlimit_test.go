package memlimit

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestGet(t *testing.T) {
	n := Get()
	if n < 16<<20 {
		t.Errorf("%d bytes, want more than 16 MiB", n)
	}
	old := debug.SetMemoryLimit(n - 1)
	t.Cleanup(func() { debug.SetMemoryLimit(old) })
	if got := Get(); got != n-1 {
		t.Errorf("%d bytes with a GOMEMLIMIT of %d", got, n-1)
	}
}

// GOMEMLIMIT is not changed.
func TestSetForCgroup(t *testing.T) {
	const set = int64(1 << 40)
	old := debug.SetMemoryLimit(set)
	t.Cleanup(func() { debug.SetMemoryLimit(old) })
	SetForCgroup()
	if n := debug.SetMemoryLimit(-1); n != set {
		t.Errorf("it is %d, and was set to %d", n, set)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	SetForCgroup()
	want := int64(math.MaxInt64)
	if n := cgroup(); n > 0 && n < machine() {
		want = n - n/10
	}
	if n := debug.SetMemoryLimit(-1); n != want {
		t.Errorf("it is %d, want %d", n, want)
	}
}
