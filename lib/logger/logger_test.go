package logger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/lib/logger"
)

func TestLevels(t *testing.T) {
	for level, want := range map[string]string{
		"":      "info warn error",
		"debug": "debug info warn error",
		"info":  "info warn error",
		"warn":  "warn error",
		"error": "error",
	} {
		var out bytes.Buffer
		log, err := logger.New(&out, logger.Config{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		log.Error("error")
		logger.Flush(testutil.Patience)
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, strings.TrimSpace(line[strings.Index(line, "msg=")+4:]))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("level %q logs %v, want %s", level, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	log, err := logger.New(&out, logger.Config{Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("listening", "addr", "a\nb", logger.Seconds("took", 1500*time.Millisecond))
	logger.Flush(testutil.Patience)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["addr"] != "a\nb" || line["took_s"] != 1.5 {
		t.Errorf("logged %s: %v", out.Bytes(), err)
	}
}

func TestBadConfig(t *testing.T) {
	bad := logger.Config{Level: "loud", Format: "xml"}
	_, err := logger.New(io.Discard, bad)
	var f *field.Error
	if !errors.As(err, &f) || f.Field != "Level" || !strings.Contains(err.Error(), "Format xml") {
		t.Errorf("New: %v, want an error for Level and Format", err)
	}
	log, err := logger.New(io.Discard, logger.Config{Level: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []logger.Config{bad, {Level: "debug", Format: "xml"}, {Level: "loud"}} {
		if err := log.Set(bad); !errors.As(err, &f) || log.Level.Level() != slog.LevelWarn {
			t.Errorf("Set(%+v): %v, the level is %v", bad, err, log.Level)
		}
	}
}

// Level and format of a log change while it is used, with those of the loggers derived from it before
// and after.
func TestSet(t *testing.T) {
	out := newSink()
	log, err := logger.New(out, logger.Config{Level: "info"})
	if err != nil {
		t.Fatal(err)
	}
	derived := log.With("a", 1).WithGroup("g").With("b", 2)
	async := logger.Async(derived)
	say := func(want ...string) {
		t.Helper()
		before := len(out.lines(t))
		if out.out.Len() == 0 {
			before = 0
		}
		derived.Debug("debug", "c", 3)
		async.Info("info", "c", 3)
		log.With("d", 4).Info("new")
		got := out.lines(t)[before:]
		if len(got) != len(want) {
			t.Fatalf("logged %q, want %q", got, want)
		}
		for i, line := range got {
			if !strings.HasSuffix(line, want[i]) {
				t.Errorf("logged %q, want the end %q", line, want[i])
			}
		}
	}
	say("level=INFO msg=info a=1 g.b=2 g.c=3", "level=INFO msg=new d=4")
	set := func(cfg logger.Config) {
		t.Helper()
		if err := log.Set(cfg); err != nil {
			t.Fatal(err)
		}
	}
	set(logger.Config{Level: "debug", Format: "json"})
	if log.Level.Level() != slog.LevelDebug || !log.Enabled(t.Context(), slog.LevelDebug) {
		t.Errorf("the level is %v", log.Level)
	}
	say(`"level":"DEBUG","msg":"debug","a":1,"g":{"b":2,"c":3}}`, `"level":"INFO","msg":"info","a":1,"g":{"b":2,"c":3}}`, `"level":"INFO","msg":"new","d":4}`)
	log.Level.Set(slog.LevelWarn)
	say()
	if err := log.SetFormat("text"); err != nil || log.Level.Level() != slog.LevelWarn {
		t.Errorf("%v, the level is %v", err, log.Level)
	}
	log.Level.Set(slog.LevelInfo)
	say("level=INFO msg=info a=1 g.b=2 g.c=3", "level=INFO msg=new d=4")
	if err := log.SetFormat("xml"); err == nil {
		t.Error("the format xml is taken")
	}
	set(logger.Config{Format: "json"})
	set(logger.Config{})
	say("level=INFO msg=info a=1 g.b=2 g.c=3", "level=INFO msg=new d=4")
}

// A change goes on with the queue: the records in it are kept, in order, and those that are
// dropped are counted and reported.
func TestSetKeepsTheQueue(t *testing.T) {
	out := newSink()
	log, err := logger.New(out, logger.Config{})
	if err != nil {
		t.Fatal(err)
	}
	out.block(t, log.Logger)
	const n = 20_000
	for i := range n {
		log.Info("record", "i", i)
		if i == n/2 {
			if err := log.Set(logger.Config{Format: "json"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	lost := logger.Dropped(log.Logger)
	if lost == 0 || lost > n-100 || logger.Dropped(log.With("a", 1)) != lost {
		t.Fatalf("%d of %d are dropped", lost, n)
	}
	out.set(false, nil)
	lines := out.lines(t)[1:]
	if len(lines) != n-int(lost)+1 || !strings.Contains(lines[0], fmt.Sprintf(`"msg":"log records dropped","count":%d`, lost)) {
		t.Fatalf("%d lines, the first one %s", len(lines), lines[0])
	}
	for i, line := range lines[1:] {
		if !strings.HasSuffix(line, fmt.Sprintf(`"msg":"record","i":%d}`, i)) {
			t.Fatalf("line %d is %s", i, line)
		}
	}
}

// Every line is whole, in one of the two formats, while others change them all the time.
func TestSetConcurrently(t *testing.T) {
	out := newSink()
	log, err := logger.New(out, logger.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			log := log.With("a", 1)
			for range n {
				log.Info("hello")
			}
		})
	}
	for _, format := range []string{"json", "text"} {
		all.Go(func() {
			for range n / 10 {
				log.Set(logger.Config{Format: format, Level: "debug"})
			}
		})
	}
	all.Wait()
	lines := out.lines(t)
	if lost := logger.Dropped(log.Logger); len(lines)+int(lost) < 4*n {
		t.Errorf("%d lines and %d dropped, want %d in all", len(lines), lost, 4*n)
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, ` msg=hello a=1`) && !strings.HasSuffix(line, `"msg":"hello","a":1}`) && !strings.Contains(line, "log records dropped") {
			t.Fatalf("a line is %q", line)
		}
	}
}
