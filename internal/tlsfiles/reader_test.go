package tlsfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
)

func TestReader(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	r := NewReader()
	for _, want := range []string{"", "hello", strings.Repeat("x", 10000)} {
		testutil.ReplaceFile(t, file, []byte(want))
		if got, err := r.File(file); string(got) != want || got == nil || err != nil {
			t.Errorf("%d bytes, nil %v, %v; want %d", len(got), got == nil, err, len(want))
		}
	}
	for most, want := range map[int64]int{0: 0, 9999: 9999, 10000: 10000, 10001: 10000} {
		if got, err := r.FileUpTo(file, most); len(got) != want || err != nil {
			t.Errorf("%d bytes of %d, %v", len(got), most, err)
		}
	}
	if entries, err := r.Dir(folder); len(entries) != 1 || err != nil {
		t.Errorf("entries %v, %v", entries, err)
	}
	if _, err := r.File(filepath.Join(folder, "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := r.File(folder); err == nil {
		t.Error("a folder is read as a file")
	}
	if _, err := r.Dir(file); err == nil {
		t.Error("a file is read as a folder")
	}
}

// slow is a file whose reads return when they are released.
type slow struct {
	reads   chan struct{}
	release chan string
}

func newSlow() *slow { return &slow{make(chan struct{}, 100), make(chan string, 100)} }

func (s *slow) read(string) (string, error) {
	s.reads <- struct{}{}
	return <-s.release, nil
}

func good(name string) (string, error) { return "good " + name, nil }

// readsIn checks what a read returns, and how long it takes.
func readsIn(t *testing.T, r *Reader, name string, read func(string) (string, error), takes time.Duration, want string) {
	t.Helper()
	began := time.Now()
	got, err := within(r, name, read)
	if err != nil {
		got = err.Error()
	}
	if took := time.Since(began); took != takes || got != want {
		t.Errorf("%s: %q after %v, want %q after %v", name, got, took, want, takes)
	}
}

// A read that hangs is given up, and not begun again while it hangs; other files are read. It
// is good again when it returns.
func TestReaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, name := newSlow(), t.Name()
		hangs := "read " + name + ": takes too long"
		r := NewReader()
		time.Sleep(roundTime / 2)
		readsIn(t, r, name, s.read, roundTime/2, hangs)
		readsIn(t, r, name, s.read, 0, hangs)
		readsIn(t, r, name+"2", good, 0, "good "+name+"2")
		other := newSlow()
		readsIn(t, r, name+"3", other.read, lateTime, "read "+name+"3: takes too long")
		if n := len(s.reads); n != 1 {
			t.Errorf("%d reads, want 1", n)
		}
		s.release <- "old"
		other.release <- "old"
		synctest.Wait()
		readsIn(t, NewReader(), name, good, 0, "good "+name)
		readsIn(t, r, name+"3", good, 0, "good "+name+"3")
	})
}

// A read that never returns costs few others: they are as far from each other as it has hung.
func TestReaderTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, name := newSlow(), t.Name()
		defer close(s.release)
		for begin := time.Now(); time.Since(begin) < 24*time.Hour; time.Sleep(time.Second) {
			within(NewReader(), name, s.read)
		}
		if n := len(s.reads); n < 10 || n > 15 {
			t.Errorf("%d reads in a day", n)
		}
		for begin := time.Now(); time.Since(begin) < 25*time.Hour; time.Sleep(time.Second) {
			if got, err := within(NewReader(), name, good); err == nil && got == "good "+name {
				readsIn(t, NewReader(), name, good, 0, "good "+name)
				return
			}
		}
		t.Error("the file is not used though it is good again")
	})
}

// Many files that hang keep few threads.
func TestReaderOfManyThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, began := newSlow(), NewReader(), time.Now()
		for i := range 100 {
			if _, err := within(r, fmt.Sprint(t.Name(), i), s.read); err == nil {
				t.Error("it is read")
			}
		}
		if n, took := len(s.reads), time.Since(began); n != maxHung || took != roundTime+(maxHung-1)*lateTime {
			t.Errorf("%d reads in %v", n, took)
		}
		close(s.release)
		synctest.Wait()
		readsIn(t, r, t.Name(), good, 0, "good "+t.Name())
	})
}
