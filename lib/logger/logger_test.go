package logger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

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
	log.Info("listening", "addr", "a\nb")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["addr"] != "a\nb" {
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
