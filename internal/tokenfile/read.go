// Package tokenfile reads the token of the admin side from its file, for the server and for the
// commands that talk to it.
package tokenfile

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// maxSize is how large a file may be.
const maxSize = 4 << 10

var errToken = errors.New("the token must be printable ASCII without spaces, and not empty")

// Token returns the token that is set, either itself or by the name of its file; empty if none is.
func Token(token, file string) (string, error) {
	if file == "" {
		return token, nil
	}
	return Read(file)
}

// Read returns the token in a file, without the white space around it. It does not block: a file
// that is not a regular one, such as a FIFO, is an error.
func Read(name string) (string, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: not a regular file", name)
	case info.Size() > maxSize:
		return "", fmt.Errorf("%s: larger than %d bytes", name, maxSize)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" || !IsToken(token) {
		return "", fmt.Errorf("%s: %w", name, errToken)
	}
	return token, nil
}

// IsToken reports whether s can be sent in a header: it is printable ASCII without spaces.
func IsToken(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return false
		}
	}
	return true
}
