//go:build unix

package tlsfiles

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// A FIFO or a device is an error at once, whether the other end of a FIFO is open or not.
func TestReaderOfOtherThanFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r, began := NewReader(), time.Now()
	want := func(name string) {
		t.Helper()
		if text, err := r.File(name); err == nil || !strings.Contains(err.Error(), name+": is not a regular file") {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	}
	want(fifo)
	want("/dev/zero")
	file, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want(fifo)
	if _, err := r.Dir(fifo); err == nil {
		t.Error("a FIFO is read as a folder")
	}
	if took := time.Since(began); took > testutil.Slack/2 {
		t.Errorf("took %v", took)
	}
}
