package netconn

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
)

// CheckUnixPath returns what is wrong with the path of a unix socket, or "". A path that is
// too long or has a zero byte in it would not name that file.
func CheckUnixPath(path string) (why string) {
	longest := len(syscall.RawSockaddrUnix{}.Path) - 1 // and a zero byte
	switch {
	case path == "":
		return "must be a path"
	case strings.Contains(path, "\x00"):
		return "must not have a zero byte in it"
	case len(path) > longest:
		return fmt.Sprintf("is too long for a unix socket: %d bytes, %d at most", len(path), longest)
	}
	return ""
}

// SameUnixPath reports whether two paths name the same unix socket, as far as their text tells.
func SameUnixPath(a, b string) bool {
	if a == b || strings.HasPrefix(a, "@") || strings.HasPrefix(b, "@") { // an abstract one is no path
		return a == b
	}
	return absolute(a) == absolute(b)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}
