package testutil

import (
	"os"
	"testing"
)

// OpenFiles returns the number of open files of the process.
func OpenFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
