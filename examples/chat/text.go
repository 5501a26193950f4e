package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// blanks matches a run of blanks: spaces, and what looks like one, also with characters without a width
// between them.
var blanks = regexp.MustCompile(`[` + blank + `][` + blank + `\p{Cf}\p{Mn}]*`)

// blank has spaces, fillers of Hangul, and the empty pattern of Braille.
const blank = `\p{Zs}\x{115F}\x{1160}\x{3164}\x{FFA0}\x{2800}`

// clean returns a line of a user as others may see it. It has nothing that a terminal obeys: no
// control characters, so no escape sequences, and nothing that changes the direction of what
// follows. What is not UTF-8, such as the commands of telnet, is replaced too. A run of blanks is one
// blank: a long one would fill a row of the terminal, and what follows would look like a line of the
// server.
func clean(line []byte) string {
	text := strings.Map(cleanRune, string(line))
	return strings.Trim(blanks.ReplaceAllString(text, " "), " ")
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
