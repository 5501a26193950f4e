package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{
		"anna":         "anna",
		"Anna":         "anna",
		"r2-d_2.x":     "r2-d_2.x",
		"7up":          "7up",
		"Ångström":     "ångström",
		"A\u030angstr": "ångstr", // a letter and a combining ring
		"ＡＮＮＡ":         "anna",   // full width
		"李雷":           "李雷",
		"Ωmega":        "ωmega",
		"иван":         "иван",
		"אנה":          "אנה",
	} {
		if got, err := parseName(text, 24); got != want || err != nil {
			t.Errorf("%q becomes %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "an na", "-anna", ".", "_x", "/quit", "#tea", "*", "a*", "a:b", "[x]", "a,b", "a\u0301\x1b", "\x1b[31m",
		"\xff", "\uFFFD", "\u200banna", "an\u202ena", "\u0301", "😀", "anna\U00013441", "\U00013442", "a\u00a0b", "אa", strings.Repeat("x", 25), strings.Repeat("\u0130", 24),
	} {
		if got, err := parseName(text, 24); err == nil {
			t.Errorf("%q becomes %q, want an error", text, got)
		}
	}
}

// A name is a name of its own form, and is as short as it may be.
func FuzzParseName(f *testing.F) {
	f.Add("Anna")
	f.Add("ｱﾝﾅ")
	f.Add("\u0130")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := parseName(text, 24)
		if err != nil {
			return
		}
		if again, err := parseName(name, 24); again != name || err != nil {
			t.Errorf("%q becomes %q, and that %q, %v", text, name, again, err)
		}
		if n := utf8.RuneCountInString(name); n == 0 || n > 24 {
			t.Errorf("%q has %d characters", name, n)
		}
		if clean([]byte(name)) != name || strings.ContainsAny(name, " /[]()*!:,") {
			t.Errorf("%q becomes %q", text, name)
		}
	})
}
