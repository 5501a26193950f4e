package app

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
)

// watched is a file in memory that is watched. The test changes it under mu.
type watched struct {
	mu       sync.Mutex
	text     string
	err      error
	lastRead digest
	reloads  int
	logged   strings.Builder
	*watcher
}

func newWatched(text string) *watched {
	f := &watched{text: text, lastRead: sha256.Sum256([]byte(text))}
	f.watcher = &watcher{
		read: func() ([]byte, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return []byte(f.text), f.err
		},
		lastRead: func() digest {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.lastRead
		},
		reload: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reloads++
			f.lastRead = sha256.Sum256([]byte(f.text))
		},
		log: slog.New(slog.NewTextHandler(&f.logged, nil)),
	}
	return f
}

// becomes makes the file one with this text, or one that cannot be read.
func (f *watched) becomes(text string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.err = text, err
}

// after checks how many reloads there were after a number of polls.
func (f *watched) after(t *testing.T, polls, reloads int) {
	t.Helper()
	time.Sleep(time.Duration(polls) * watchInterval)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reloads != reloads {
		t.Errorf("%d reloads, want %d", f.reloads, reloads)
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWatched("a")
		f.set(true)
		f.set(true)
		time.Sleep(watchInterval / 2) // between two polls
		f.after(t, 5, 0)
		f.becomes("b", nil)
		f.after(t, 1, 0)
		f.after(t, 1, 1)
		f.after(t, 5, 1)
		for _, text := range []string{"c", "d", "e", "b"} { // it is being written, and then as it was
			f.becomes(text, nil)
			f.after(t, 1, 1)
		}
		f.after(t, 5, 1)
		f.becomes("", fs.ErrNotExist)
		f.after(t, 3, 1)
		f.becomes("f", nil)
		f.after(t, 1, 1)
		f.after(t, 1, 2)
		f.becomes("", errors.New("takes too long"))
		f.after(t, 3, 2)
		f.becomes("f", nil)
		f.after(t, 3, 2)
		f.becomes("g", nil)
		f.mu.Lock()
		f.lastRead = sha256.Sum256([]byte("g")) // a reload for another reason has read it
		f.mu.Unlock()
		f.after(t, 5, 2)
		f.set(false)
		f.set(false)
		f.becomes("h", nil)
		f.after(t, 5, 2)
		f.set(true)
		f.after(t, 1, 2)
		f.after(t, 1, 3)
		f.close()
		f.set(true) // by a reload that was under way
		f.becomes("i", nil)
		f.after(t, 5, 3)
		synctest.Wait()
		if log := f.logged.String(); strings.Count(log, "cannot be read") != 2 || strings.Count(log, "can be read again") != 2 {
			t.Errorf("logged\n%s", log)
		}
	})
}

// A read that hangs does not hold up the end of the watch, and its result does not count then.
func TestWatchHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWatched("a")
		hung := make(chan error)
		f.read = func() ([]byte, error) { return nil, <-hung }
		f.set(true)
		time.Sleep(2 * watchInterval)
		f.set(false)
		hung <- errors.New("too late")
		synctest.Wait()
		if f.logged.String() != "" {
			t.Errorf("logged %s", f.logged.String())
		}
	})
}

// The file is read up to a bound, and remembered.
func TestConfigFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "wireline.yaml")
	f := new(configFile)
	if _, err := f.readAgain(name); !errors.Is(err, fs.ErrNotExist) || f.lastRead() != (digest{}) {
		t.Errorf("a missing file: %v", err)
	}
	for _, text := range []string{"", "handler: echo\n", strings.Repeat("#", maxConfig+1)} {
		testutil.ReplaceFile(t, name, []byte(text))
		want := text[:min(len(text), maxConfig)]
		for _, read := range []func(string) ([]byte, error){f.readFirst, readRegular, f.readAgain} {
			if data, err := read(name); err != nil || string(data) != want {
				t.Errorf("%d bytes, %v; want %d", len(data), err, len(want))
			}
			if f.lastRead() != sha256.Sum256([]byte(want)) {
				t.Error("it is not remembered")
			}
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.readAgain(name); err == nil {
		t.Error("a folder was read")
	}
}
