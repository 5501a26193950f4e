package testutil

import (
	"testing"
	"time"
)

// Records collects records as they are written, such as those of handler.Frames.OnRecord.
type Records[T any] struct{ All chan T }

// NewRecords returns an empty Records. It has room for as many as any test writes.
func NewRecords[T any]() *Records[T] { return &Records[T]{make(chan T, 1<<16)} }

// Add adds a record.
func (r *Records[T]) Add(record T) { r.All <- record }

// Next waits for the next record, in the order in which they were written.
func (r *Records[T]) Next(t testing.TB) T {
	t.Helper()
	select {
	case record := <-r.All:
		return record
	case <-time.After(Patience):
		t.Fatal("no record was written")
		panic("not reached")
	}
}

// None demands that no record is waiting.
func (r *Records[T]) None(t testing.TB) {
	t.Helper()
	if len(r.All) > 0 {
		t.Fatalf("a record was written: %+v", <-r.All)
	}
}
