package testutil

import (
	"os"
	"testing"
)

// OpenFiles counts the open files of this process.
func OpenFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
