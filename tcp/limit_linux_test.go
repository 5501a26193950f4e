package tcp_test

import (
	"golang.org/x/sys/unix"
)

// limitFiles limits the open files of this process.
func limitFiles(n uint64) error {
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n})
}
