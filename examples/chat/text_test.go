package main

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for line, want := range map[string]string{
		"hello":                        "hello",
		"  hello \t":                   "hello",
		"a\tb":                         "a b",
		"a   b \u00a0\t\u3000 c":       "a b c",
		"a \u200b \u2060 \ufe0f b":     "a b",
		"a\u2800\u2800\u3164\u3164b":   "a b",
		"\u2800\u00ad":                 "",
		"a\u115f\u1160 \U000e0020 b":   "a b",
		"a \u180e\U000e0100 b":         "a b",
		"می\u200cخواهم":                "می\u200cخواهم", // needs its zero-width non-joiner
		"grüße, 你好 👩‍🚀 שלום":           "grüße, 你好 👩‍🚀 שלום",
		"\x1b[31mred\x1b[0m":           "\uFFFD[31mred\uFFFD[0m",
		"\x1b]0;title\x07":             "\uFFFD]0;title\uFFFD",
		"a\x00b\x7fc\bd":               "a\uFFFDb\uFFFDc\uFFFDd",
		"c1 \u009b31m and raw \x9b31m": "c1 \uFFFD31m and raw \uFFFD31m",
		"telnet \xff\xf4\xff\xfd\x06":  "telnet \uFFFD\uFFFD\uFFFD\uFFFD\uFFFD",
		"half \xe4\xbd":                "half \uFFFD\uFFFD",
		"a\rb":                         "a\uFFFDb",
		"a\u2028b\u2029c\u0085d":       "a\uFFFDb\uFFFDc\uFFFDd",
		"abc\u202edef\u2066":           "abcdef",
		"\x00":                         "\uFFFD",
		" \u200f ":                     "",
	} {
		if got := clean([]byte(line)); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
}

// What clean returns can be sent in a line to any terminal.
func FuzzClean(f *testing.F) {
	f.Add([]byte("\x1b[2J\x9b\xff\u202e"))
	f.Fuzz(func(t *testing.T, line []byte) {
		text := clean(line)
		bad := func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.In(r, unicode.Zl, unicode.Zp)
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, bad) || text != strings.TrimSpace(text) {
			t.Errorf("%q becomes %q", line, text)
		}
		if again := clean([]byte(text)); again != text {
			t.Errorf("%q becomes %q when it is cleaned again", text, again)
		}
	})
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                "just now",
		59 * time.Second: "just now",
		time.Minute:      "1m ago",
		59 * time.Minute: "59m ago",
		time.Hour:        "1h ago",
		36 * time.Hour:   "1d ago",
		-time.Hour:       "just now",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
