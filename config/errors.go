package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"wireline/lib/field"
)

// Error is one error in a configuration. Load returns all errors, joined by errors.Join;
// errors.As finds the first.
type Error struct {
	Key    string // as tcp.max_clients, or empty
	Source string // as "env WIRELINE_TCP_MAX_CLIENTS", "file wireline.yaml", "flag --handler"
	Err    error  // what is wrong, with the value
}

// Error returns one printable line: the key, the source and what is wrong. Our own errors
// quote odd characters; those of the decoders may not.
func (e *Error) Error() string {
	s := e.Source + ": " + e.Err.Error()
	if e.Key != "" {
		s = e.Key + ": " + s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Unwrap returns Err, so that errors.Is finds fs.ErrNotExist for a missing file.
func (e *Error) Unwrap() error { return e.Err }

// refuse returns an error with the value and the reason.
func refuse(value string, reason error) error {
	const most = 100
	if len(value) > most {
		value = value[:most] + "..."
	}
	return fmt.Errorf("%q %w", value, reason)
}

// unknown returns the error for a name that is not known; it suggests a similar one. what
// is "key", "variable" or "flag", prefix the beginning of all such names.
func unknown(what, prefix, name string, known []string) error {
	if near := closest(name, known); near != "" {
		return fmt.Errorf("unknown %s (did you mean %s%s?)", what, prefix, near)
	}
	return fmt.Errorf("unknown %s", what)
}

// closest returns the known name that is most likely meant by name: the only one that ends
// with it, or the one with the fewest typing errors, if they are few. It returns "" if
// there is none.
func closest(name string, known []string) string {
	if len(name) > 100 {
		return "" // not a typing error, and slow to compare
	}
	name = strings.ToLower(name)
	best, least := "", 2+len(name)/4
	var ending []string
	for _, k := range known {
		lower := strings.ToLower(k)
		if d := distance(name, lower); d < least {
			best, least = k, d
		}
		if strings.HasSuffix(lower, "."+name) || strings.HasSuffix(lower, "_"+name) {
			ending = append(ending, k)
		}
	}
	if len(ending) == 1 {
		return ending[0]
	}
	return best
}

// distance is Levenshtein's: the number of insertions, removals and changes of a byte that
// turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// printable returns s, quoted if it cannot stand in a line of a message or in a comment:
// names of files and keys may contain anything.
func printable(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if s == "" || s != strings.TrimSpace(s) || !utf8.ValidString(s) || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

// valueError is the error of a value that a method Validate has refused.
type valueError struct {
	text string // as the user wrote it
	err  *field.Error
}

func (e *valueError) Error() string { return refuse(e.text, errors.New(e.err.Reason)).Error() }
func (e *valueError) Unwrap() error { return e.err }
