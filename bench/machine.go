//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes what the figures of a run depend on.
type machine struct {
	Date       string `json:"date"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	ServerCore int    `json:"server_core"`
	LoadCore   int    `json:"load_core"`
}

func thisMachine(serverCore, loadCore int) machine {
	return machine{
		Date:       time.Now().UTC().Format(time.RFC3339),
		Kernel:     kernelRelease(),
		Go:         runtime.Version() + " " + runtime.GOARCH,
		CPU:        cpuModel(),
		Cores:      runtime.NumCPU(),
		ServerCore: serverCore,
		LoadCore:   loadCore,
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// cpuModel is empty if the processor reports no name, as many ARM processors do.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	return strings.TrimLeft(lineOf(info, "model name"), "\t :")
}

// otherFiles is at least the number of files that a process has open besides its connections.
const otherFiles = 64

// filesPerPair is how many files a proxy has open for a client and its upstream: io.Copy keeps
// a pipe per direction.
const filesPerPair = 6

// raiseFiles raises the limit of open files of this process and its children as far as
// allowed. The Go runtime does that only for itself.
func raiseFiles() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return nil
}

// fileLimit is the highest limit of open files that a process may set.
func fileLimit() (int, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	return int(min(files.Max, math.MaxInt32)), nil
}
