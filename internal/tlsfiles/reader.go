package tlsfiles

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"time"
)

const (
	// roundTime bounds how long the reads of one Reader take together: a network disk that
	// is not reachable may let a read hang for ever.
	roundTime = 10 * time.Second

	// lateTime is how long a read may take when roundTime is over. So a file that hangs
	// does not keep the others from being read.
	lateTime = 100 * time.Millisecond
)

// errNotRegular is the error of a FIFO, a device or a folder in the place of a file.
var errNotRegular = errors.New("is not a regular file")

// Reader reads files within a bound of about 10 seconds for all of them together. Use a new
// one for each round of reads, in one goroutine at a time.
type Reader struct{ until time.Time }

// NewReader returns a Reader whose time begins now.
func NewReader() *Reader { return &Reader{until: time.Now().Add(roundTime)} }

// File returns the contents of a file, never nil without an error. What is not a regular file
// is an error.
func (r *Reader) File(name string) ([]byte, error) { return r.FileUpTo(name, math.MaxInt64) }

// FileUpTo is File for the first bytes of a file, of which there are most at most.
func (r *Reader) FileUpTo(name string, most int64) ([]byte, error) {
	return within(r, name, func(name string) ([]byte, error) { return readFile(name, most) })
}

// Dir returns the entries of a folder, in the order of their names.
func (r *Reader) Dir(name string) ([]os.DirEntry, error) { return within(r, name, os.ReadDir) }

// within calls read, and waits for it as long as the Reader has time. It returns an error at
// once while an earlier read of name hangs.
func within[T any](r *Reader, name string, read func(string) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if !hung.mayRead(name) {
		return none, errHangs(name)
	}
	began := time.Now()
	done, attempt := make(chan result, 1), new(attempt)
	go func() {
		value, err := read(name)
		hung.returned(name, attempt)
		done <- result{value, err}
	}()
	timer := time.NewTimer(max(time.Until(r.until), lateTime))
	defer timer.Stop()
	select {
	case got := <-done:
		return got.value, got.err
	case <-timer.C:
		hung.note(name, attempt, began)
		return none, errHangs(name)
	}
}

// readFile is os.ReadFile for regular files, up to a number of bytes. It does not wait for the other
// end of a FIFO.
func readFile(name string, most int64) ([]byte, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errNotRegular}
	}
	return io.ReadAll(io.LimitReader(file, most))
}
