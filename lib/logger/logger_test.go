package logger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
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
	_, err := logger.New(io.Discard, logger.Config{Level: "loud", Format: "xml"})
	var f *field.Error
	if !errors.As(err, &f) || f.Field != "Level" || !strings.Contains(err.Error(), "Format xml") {
		t.Errorf("New: %v, want an error for Level and Format", err)
	}
}
