package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean returns a line of a user as others may see it. It has nothing that a terminal obeys: no
// control characters, so no escape sequences, and nothing that changes the direction of what
// follows. What is not UTF-8, such as the commands of telnet, is replaced too.
func clean(line []byte) string {
	return strings.TrimSpace(strings.Map(cleanRune, string(line)))
}

func cleanRune(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.Is(unicode.Bidi_Control, r):
		return -1
	case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp):
		return utf8.RuneError
	}
	return r
}

// cutWord splits text at its first spaces.
func cutWord(text string) (word, rest string) {
	word, rest, _ = strings.Cut(text, " ")
	return word, strings.TrimSpace(rest)
}

// ago says how long ago something was, as short as possible.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	}
	return fmt.Sprintf("%dd ago", d/(24*time.Hour))
}
