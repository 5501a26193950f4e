package main

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

var errName = errors.New("a name is made of letters and digits, and of - _ . inside")

// parseName returns the form of a nickname, or of a room's name, that is shown and compared: two
// names are the same if these are. It is that of user names in RFC 8265, 3.3: in lower case, and
// with one encoding for what looks the same in several. Letters of different scripts that look the
// same stay different.
func parseName(text string, maxLength int) (string, error) {
	if utf8.RuneCountInString(text) > maxLength {
		return "", fmt.Errorf("a name has at most %d characters", maxLength)
	}
	name, err := precis.UsernameCaseMapped.String(text)
	if err != nil || name == "" {
		return "", errName
	}
	for i, r := range name {
		switch {
		case r == '\U00013441' || r == '\U00013442':
			return "", errName // hieroglyphs that are blanks, but letters for Unicode
		case unicode.In(r, unicode.L, unicode.Nd):
		case i > 0 && (unicode.Is(unicode.M, r) || r == '-' || r == '_' || r == '.'):
		default:
			return "", errName
		}
	}
	if utf8.RuneCountInString(name) > maxLength { // a few characters are two in lower case
		return "", fmt.Errorf("a name has at most %d characters", maxLength)
	}
	return name, nil
}
