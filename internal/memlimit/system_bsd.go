//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package memlimit

import "golang.org/x/sys/unix"

// cgroup returns zero: there are none.
func cgroup() int64 { return 0 }

// machine returns the memory of the machine; zero if it is not known.
func machine() int64 {
	for _, name := range []string{"hw.memsize", "hw.physmem64", "hw.physmem"} {
		if n, err := unix.SysctlUint64(name); err == nil {
			return int64(n)
		}
	}
	return 0
}
