package handler_test

import (
	"iter"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/handler"
	"wireline/lib/histogram"
)

// nothingOpen is for a ledger whose connections have all ended.
func nothingOpen(func(handler.Counts) bool) {}

func TestLedger(t *testing.T) {
	var l handler.Ledger
	if got := l.Totals(nothingOpen); got.Counts != (handler.Counts{}) || got.Open() != 0 || got.Durations.Count != 0 || len(got.Durations.Buckets) != len(histogram.Lifetimes) {
		t.Errorf("the totals of nothing are %+v", got)
	}
	one := handler.Counts{BytesIn: 1, BytesOut: 20, FramesIn: 300, FramesOut: 4000}
	for range 4 {
		l.Open()
	}
	l.End(handler.Record{Counts: one, By: handler.ByClient, Reason: handler.ReasonFIN, Duration: time.Second})
	l.End(handler.Record{Counts: one, By: handler.ByClient, Reason: handler.ReasonFIN, Duration: time.Minute})
	l.End(handler.Record{By: handler.ByServer, Reason: handler.ReasonFIN})
	got := l.Totals(func(yield func(handler.Counts) bool) { yield(one) })
	want := handler.Totals{
		Counts: handler.Counts{BytesIn: 3, BytesOut: 60, FramesIn: 900, FramesOut: 12000},
		Opened: 4,
		Ended: map[handler.Cause]uint64{
			{By: handler.ByClient, Reason: handler.ReasonFIN}: 2,
			{By: handler.ByServer, Reason: handler.ReasonFIN}: 1,
		},
	}
	durations := got.Durations
	got.Durations = histogram.Snapshot{}
	if !reflect.DeepEqual(got, want) || got.Open() != 1 {
		t.Errorf("the totals are %+v with %d open, want %+v and 1", got, got.Open(), want)
	}
	if durations.Count != 3 || durations.Sum != 61*time.Second {
		t.Errorf("the durations are %d, %v in sum; want 3, 61s", durations.Count, durations.Sum)
	}
}

// A connection that was refused has ended, without a record and a duration.
func TestLedgerRefuse(t *testing.T) {
	var l handler.Ledger
	l.Open()
	l.Refuse()
	got := l.Totals(nothingOpen)
	if got.Opened != 1 || got.Open() != 0 || got.Ended[handler.Cause{By: handler.ByServer, Reason: handler.ReasonDrain}] != 1 ||
		got.Durations.Count != 0 || len(l.Last()) != 0 {
		t.Errorf("the totals are %+v, the records %v", got, l.Last())
	}
}

// A client that comes after Shutdown has ended, and has no record.
func TestRefusedClientHasNoRecord(t *testing.T) {
	h := &handler.Frames{OnRecord: func(handler.Record) { t.Error("a record") }}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	conn, client := net.Pipe()
	defer client.Close()
	h.Handle(t.Context(), conn)
	if got := h.Totals(); got.Opened != 1 || got.Open() != 0 || got.Durations.Count != 0 || len(h.Last()) != 0 {
		t.Errorf("the totals are %+v, the records %v", got, h.Last())
	}
}

// A connection that is between the two, neither open nor ended, takes nothing back. When it has
// ended, the totals are exact.
func TestLedgerNeverFalls(t *testing.T) {
	var l handler.Ledger
	ten := handler.Counts{BytesIn: 10}
	l.Open()
	if got := l.Totals(func(yield func(handler.Counts) bool) { yield(ten) }); got.BytesIn != 10 {
		t.Fatalf("%d bytes while it is open, want 10", got.BytesIn)
	}
	if got := l.Totals(nothingOpen); got.BytesIn != 10 {
		t.Errorf("%d bytes meanwhile, want 10", got.BytesIn)
	}
	l.End(handler.Record{Counts: ten})
	if got := l.Totals(nothingOpen); got.BytesIn != 10 {
		t.Errorf("%d bytes at the end, want 10", got.BytesIn)
	}
}

// The last records are kept, the latest first.
func TestLedgerLast(t *testing.T) {
	var l handler.Ledger
	for id := range uint64(230) {
		l.Open()
		l.End(handler.Record{ID: id + 1})
		last := l.Last()
		if want := min(int(id)+1, 100); len(last) != want {
			t.Fatalf("%d records after %d, want %d", len(last), id+1, want)
		}
		for i, r := range last {
			if r.ID != id+1-uint64(i) {
				t.Fatalf("record %d of the last after %d has the ID %d", i, id+1, r.ID)
			}
		}
	}
}

// While connections come, count and go, the totals never fall and never count anything twice.
func TestLedgerConcurrent(t *testing.T) {
	const goroutines, each = 4, 500
	var (
		l    handler.Ledger
		open sync.Map // of *atomic.Int64
		all  sync.WaitGroup
		done atomic.Bool
	)
	live := iter.Seq[handler.Counts](func(yield func(handler.Counts) bool) {
		open.Range(func(n, _ any) bool { return yield(handler.Counts{BytesIn: n.(*atomic.Int64).Load()}) })
	})
	for range goroutines {
		all.Go(func() {
			for range each {
				n := new(atomic.Int64)
				l.Open()
				open.Store(n, nil)
				for range 10 {
					n.Add(1)
				}
				open.Delete(n)
				l.End(handler.Record{Counts: handler.Counts{BytesIn: n.Load()}})
			}
		})
	}
	go func() { all.Wait(); done.Store(true) }()
	for last, stop := int64(0), false; !stop; {
		stop = done.Load()
		got := l.Totals(live)
		if got.BytesIn < last || got.BytesIn > int64(got.Opened)*10+goroutines*10 {
			t.Fatalf("%d bytes after %d, with %d connections of 10", got.BytesIn, last, got.Opened)
		}
		last = got.BytesIn
	}
	if got := l.Totals(live); got.BytesIn != goroutines*each*10 || got.Open() != 0 {
		t.Errorf("%d bytes and %d open, want %d and 0", got.BytesIn, got.Open(), goroutines*each*10)
	}
}
