package tlsfiles

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"wireline/lib/field"
)

// texts is a Source without files. "bad" cannot be read, "junk" cannot be parsed.
type texts struct {
	text   string
	parsed int
}

func (s *texts) Read(_ *Reader, e *field.Errors) [][]byte {
	if s.text == "bad" {
		Useless(e, "Field", "file", errors.New("bad"))
		return [][]byte{nil}
	}
	return [][]byte{[]byte(s.text)}
}

func (s *texts) Parse(texts [][]byte, e *field.Errors) string {
	s.parsed++
	if string(texts[0]) == "junk" {
		Useless(e, "Field", "file", errors.New("junk"))
	}
	return string(texts[0])
}

func (s *texts) String() string { return "file" }

// What cannot be used changes nothing, and what has not changed is not parsed again.
func TestPart(t *testing.T) {
	s := &texts{}
	p := NewPart[string](s)
	for _, step := range []struct {
		text    string
		changed bool
		err     string
		value   string
		parsed  int
	}{
		{"bad", false, "Field file: cannot be used: bad", "", 1},
		{"one", true, "", "one", 2},
		{"one", false, "", "one", 2},
		{"junk", false, "Field file: cannot be used: junk", "one", 3},
		{"one", false, "", "one", 3},
		{"two", true, "", "two", 4},
		{"bad", false, "Field file: cannot be used: bad", "two", 5},
	} {
		s.text = step.text
		changed, err := p.Load(NewReader())
		if changed != step.changed || p.Value != step.value || s.parsed != step.parsed || (err == nil) != (step.err == "") || err != nil && err.Error() != step.err {
			t.Errorf("%q: changed %v, %v, value %q, parsed %d times", step.text, changed, err, p.Value, s.parsed)
		}
	}
}

// The log is told of each change, once.
func TestProblems(t *testing.T) {
	var text bytes.Buffer
	log, problems := slog.New(slog.NewTextHandler(&text, nil)), Problems{}
	one, two := errors.New("one"), errors.New("two")
	for i, step := range []struct {
		about string
		err   error
		lines int
	}{{"a", nil, 0}, {"a", one, 1}, {"a", one, 1}, {"b", one, 2}, {"a", two, 3}, {"a", two, 3}, {"a", nil, 3}, {"b", one, 3}, {"a", two, 4}} {
		problems.Note(log, step.about, step.err, "cannot be used")
		if n := strings.Count(text.String(), "level=WARN"); n != step.lines {
			t.Errorf("step %d: %d lines, want %d", i, n, step.lines)
		}
	}
}
