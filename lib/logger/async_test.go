package logger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/internal/testutil"
	"wireline/lib/logger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is where a handler writes. Write waits while the sink is shut, and fails with err.
type sink struct {
	mu    sync.Mutex
	open  *sync.Cond
	shut  bool
	waits bool // a Write waits
	err   error
	out   bytes.Buffer
}

func newSink() *sink {
	s := new(sink)
	s.open = sync.NewCond(&s.mu)
	return s
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.shut {
		s.waits = true
		s.open.Wait()
	}
	s.waits = false
	if s.err != nil {
		return 0, s.err
	}
	return s.out.Write(b)
}

// set shuts or opens the sink, and sets its error.
func (s *sink) set(shut bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut, s.err = shut, err
	s.open.Broadcast()
}

// block shuts the sink and waits until a record is being written.
func (s *sink) block(t *testing.T, log *slog.Logger) {
	t.Helper()
	s.set(true, nil)
	log.Info("first")
	testutil.Eventually(t, "a write", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.waits
	})
}

// lines returns what was written, flushed.
func (s *sink) lines(t *testing.T) []string {
	t.Helper()
	if !logger.Flush(testutil.Patience) {
		t.Error("not flushed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.out.String(), "\n"), "\n")
}

// without returns options without the time.
func without() *slog.HandlerOptions {
	return &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}
}

func (s *sink) logger() *slog.Logger {
	return logger.Async(slog.New(slog.NewTextHandler(s, without())))
}

// A writer that nobody reads from stops nobody. What was logged before, warnings and errors
// are kept, in order, and what was dropped is said.
func TestFull(t *testing.T) {
	out := newSink()
	log := out.logger()
	out.block(t, log)
	const n = 20_000
	for i := range n {
		log.Info("info", "i", i)
	}
	lost := logger.Dropped(log)
	log.Debug("debug")
	for i := range 100 {
		log.Warn("warning", "i", i)
	}
	if got := logger.Dropped(log); lost < n/2 || lost > n-1000 || got != lost+1 {
		t.Errorf("dropped %d of %d at level info, then %d more", lost, n, got-lost)
	}
	out.set(false, nil)

	want := []string{"level=INFO msg=first", fmt.Sprintf(`level=WARN msg="log records dropped" count=%d`, lost+1)}
	for i := range n - int(lost) {
		want = append(want, fmt.Sprintf("level=INFO msg=info i=%d", i))
	}
	for i := range 100 {
		want = append(want, fmt.Sprintf("level=WARN msg=warning i=%d", i))
	}
	if d := firstDifference(out.lines(t), want); d != "" {
		t.Error(d)
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("line %d is missing: %s", i, want[i])
		case i >= len(want):
			return fmt.Sprintf("line %d is too much: %s", i, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("line %d: got %s, want %s", i, got[i], want[i])
		}
	}
	return ""
}

// A flood of errors is bounded too.
func TestBound(t *testing.T) {
	out := newSink()
	log := out.logger()
	out.set(true, nil)
	large := strings.Repeat("x", 1<<20)
	for range 100 {
		log.Error("large", "x", large)
	}
	if got := logger.Dropped(log); got < 90 {
		t.Errorf("dropped %d of 100 records of a MiB", got)
	}
	out.set(false, nil)
	out.lines(t)
}

// What is logged is read when it is logged, and reaches the handler as without the queue.
func TestCapture(t *testing.T) {
	use := func(log *slog.Logger, during func()) {
		b, text := []byte("frame"), fickle{new(string)}
		*text.s = "before"
		log = log.With("service", "x").WithGroup("g").With("h", 1)
		log.Info("mixed", "bytes", b, "ip", net.IP("\x7f\x00\x00\x01"), "err", io.EOF,
			"valuer", text, slog.Group("group", "inner", text, "b", b), "nothing", nil, "none", []byte(nil))
		log.Debug("plain", "took", time.Second)
		copy(b, "XXXXX")
		*text.s = "after"
		during()
	}
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, without()) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, without()) },
	} {
		var want bytes.Buffer
		use(slog.New(handler(&want)), func() {})
		out := newSink()
		out.set(true, nil)
		use(logger.Async(slog.New(handler(out))), func() { out.set(false, nil) })
		if got := strings.Join(out.lines(t), "\n") + "\n"; got != want.String() {
			t.Errorf("%s: got\n%swant\n%s", name, got, want.String())
		}
	}
}

// fickle changes its value.
type fickle struct{ s *string }

func (f fickle) LogValue() slog.Value { return slog.StringValue(*f.s) }

// Loggers on the same handler share one queue, in whatever way they were made.
func TestOneQueue(t *testing.T) {
	out := newSink()
	h := slog.NewTextHandler(out, without())
	a, b := logger.Async(slog.New(h)), logger.Async(slog.New(h)).With("b", 1)
	if logger.Async(a) != a {
		t.Error("an asynchronous logger was made asynchronous")
	}
	out.set(true, nil)
	var want []string
	for i := range 100 {
		a.Info("a", "i", i)
		b.Info("b", "i", i)
		want = append(want, fmt.Sprintf("level=INFO msg=a i=%d", i), fmt.Sprintf("level=INFO msg=b b=1 i=%d", i))
	}
	out.set(false, nil)
	if d := firstDifference(out.lines(t), want); d != "" {
		t.Error(d)
	}
}

// What cannot be written is dropped, and said when writing works again.
func TestWriteError(t *testing.T) {
	out := newSink()
	log := out.logger()
	log.Info("first")
	out.lines(t)
	out.set(false, errors.New("disk full"))
	for range 10 {
		log.Info("lost")
		out.lines(t)
	}
	out.set(false, nil)
	log.Info("works")
	want := []string{"level=INFO msg=first", "level=INFO msg=works", `level=WARN msg="log records dropped" count=10 err="disk full"`}
	if d := firstDifference(out.lines(t), want); d != "" {
		t.Error(d)
	}
	if n := logger.Dropped(log); n != 10 {
		t.Errorf("dropped %d, want 10", n)
	}
}

// rude is a handler that panics, or ends its goroutine. It cannot be compared.
type rude struct {
	slog.Handler
	_ []int
}

func (h rude) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "panic":
		panic("bad handler")
	case "goexit":
		runtime.Goexit()
	}
	return h.Handler.Handle(ctx, r)
}

func TestPanic(t *testing.T) {
	out := newSink()
	log := logger.Async(slog.New(rude{Handler: slog.NewTextHandler(out, without())}))
	for _, msg := range []string{"panic", "goexit"} {
		log.Info(msg)
		out.lines(t)
	}
	log.Info("works")
	if got := out.lines(t); len(got) != 3 || !strings.Contains(got[0], `count=1 err="log handler panicked: bad handler"`) {
		t.Errorf("logged %q", got)
	}
}

// A flush waits for its timeout, and the next one not at all.
func TestFlushTimeout(t *testing.T) {
	out := newSink()
	log := out.logger()
	if !logger.Flush(0) {
		t.Error("nothing to flush, and not flushed")
	}
	out.set(true, nil)
	log.Info("waits")
	if logger.Flush(10 * time.Millisecond) {
		t.Error("flushed while the writer is blocked")
	}
	if began := time.Now(); logger.Flush(testutil.Patience) || time.Since(began) > testutil.Patience/2 {
		t.Error("a second flush has waited")
	}
	out.set(false, nil)
	testutil.Eventually(t, "flushed", func() bool { return logger.Flush(0) })
}

// A logger for nil follows slog.Default().
func TestDefault(t *testing.T) {
	for range 2 {
		out := newSink()
		testutil.SetDefaultLog(t, slog.New(slog.NewTextHandler(out, without())))
		logger.Async(nil).Info("hello")
		if got := out.lines(t); got[0] != "level=INFO msg=hello" {
			t.Errorf("logged %q", got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { logger.Async(nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The queue adds no allocation to a record of the size of a connection's.
func TestAllocations(t *testing.T) {
	direct := slog.New(slog.NewTextHandler(io.Discard, nil))
	count := func(log *slog.Logger) float64 {
		return testing.AllocsPerRun(1000, func() { logLikeAConnection(log) })
	}
	want := count(direct)
	got := count(logger.Async(direct))
	logger.Flush(testutil.Patience)
	if got > want+2 { // the goroutine starts now and then; growing the queue is amortized
		t.Errorf("%v allocations, %v without the queue", got, want)
	}
}

func logLikeAConnection(log *slog.Logger) {
	log.LogAttrs(context.Background(), slog.LevelInfo, "connection", slog.Uint64("id", 1), slog.String("peer", "127.0.0.1:1"),
		slog.Float64("duration_s", 1), slog.Int64("bytes_in", 1), slog.Int64("bytes_out", 1), slog.Int64("frames_in", 1),
		slog.Int64("frames_out", 1), slog.String("by", "client"), slog.String("reason", "fin"))
}

func BenchmarkLog(b *testing.B) {
	direct := slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, log := range map[string]*slog.Logger{"direct": direct, "async": logger.Async(direct)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				logLikeAConnection(log)
			}
		})
	}
	logger.Flush(time.Minute)
}
