//go:build !linux

// Command bench compares line echo servers. It needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: needs Linux, for epoll, CPU affinity and the CPU clocks of other processes")
	os.Exit(1)
}
