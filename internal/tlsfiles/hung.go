package tlsfiles

import (
	"errors"
	"io/fs"
	"sync"
	"time"
)

// maxHung is how many files may hang at the same time: each of them keeps a thread. Beyond
// that no file is read until a read returns.
const maxHung = 16

// hung are the files of this process whose reads have not returned in time.
var hung hungFiles

// hungFiles are files whose reads hang. A read that hangs cannot be ended. If it returns, the
// file is good again. If the file is replaced meanwhile, the read may never return: so the file
// is tried again, each time after it has hung for twice as long. That is a few threads for a
// day.
type hungFiles struct {
	mu    sync.Mutex
	files map[string]*hungFile
}

// hungFile says when a file may be read again.
type hungFile struct{ since, retry time.Time }

// attempt is one read of a file. It is under the mu of hungFiles.
type attempt struct {
	returned bool
	file     *hungFile // not nil if the read was late
}

func errHangs(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: errors.New("takes too long")}
}

// mayRead reports whether a file may be read now.
func (h *hungFiles) mayRead(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	file := h.files[name]
	if file == nil {
		return len(h.files) < maxHung
	}
	now := time.Now()
	if now.Before(file.retry) {
		return false
	}
	file.retry = now.Add(now.Sub(file.since))
	return true
}

// note notes that a read has not returned in time.
func (h *hungFiles) note(name string, a *attempt, began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.returned {
		return
	}
	if a.file = h.files[name]; a.file != nil {
		return
	}
	now := time.Now()
	a.file = &hungFile{since: began, retry: now.Add(now.Sub(began))}
	if h.files == nil {
		h.files = map[string]*hungFile{}
	}
	h.files[name] = a.file
}

// returned notes that a read has returned: the file does not hang, or not any more.
func (h *hungFiles) returned(name string, a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.returned = true
	if a.file == nil || a.file == h.files[name] {
		delete(h.files, name)
	}
}
