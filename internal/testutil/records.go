package testutil

import (
	"testing"
	"time"
)

// Records collects records, such as those of handler.Frames.OnRecord. It is safe for
// concurrent use.
type Records[T any] struct {
	// All has the records, in the order in which they were added. It is a channel of
	// pointers so that a full-size buffer of large records costs little: some tests
	// count allocations.
	All chan *T
}

// NewRecords returns an empty Records. It has room for more records than any test
// writes.
func NewRecords[T any]() *Records[T] { return &Records[T]{make(chan *T, 1<<16)} }

// Add adds a record.
func (r *Records[T]) Add(record T) { r.All <- &record }

// Next waits for the next record. Records come in the order in which they were added.
// It ends the test if none comes within Patience.
func (r *Records[T]) Next(t testing.TB) T {
	t.Helper()
	select {
	case record := <-r.All:
		return *record
	case <-time.After(Patience):
		t.Fatal("no record was written")
		panic("not reached")
	}
}

// None ends the test if a record is waiting.
func (r *Records[T]) None(t testing.TB) {
	t.Helper()
	if len(r.All) > 0 {
		t.Fatalf("unexpected record: %+v", *<-r.All)
	}
}
