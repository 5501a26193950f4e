package natsbus

import (
	"strings"

	"wireline/hub"
)

// maxSubject bounds the length of a subject. A server allows 4096 bytes for a line with two
// subjects and some numbers.
const maxSubject = 1500

// subjects makes the subjects of a bus. The bytes of keys and rooms are escaped in them.
type subjects struct{ prefix string }

func (s subjects) keys() string                     { return s.prefix + ".k." }
func (s subjects) rooms() string                    { return s.prefix + ".r." }
func (s subjects) node(id nodeID) string            { return s.prefix + ".n." + id.String() }
func (s subjects) answers(id nodeID) string         { return s.prefix + ".a." + id.String() + "." }
func (s subjects) all() string                      { return s.prefix + ".all" }
func (s subjects) nobody() string                   { return s.prefix + ".nobody" } // has no subscriber
func (s subjects) key(key string) (string, error)   { return join(s.keys(), key) }
func (s subjects) room(room string) (string, error) { return join(s.rooms(), room) }

// join returns a subject that ends with a name of the user's.
func join(prefix, name string) (string, error) {
	subject := prefix + escape(name)
	if name == "" || len(subject) > maxSubject {
		return "", hub.ErrName
	}
	return subject, nil
}

// IsPrefix reports whether s can be the Prefix of a Bus: letters, digits, '-' and '_', with single dots
// between them.
func IsPrefix(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || escape(token) != token {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789ABCDEF"

// plain reports whether a byte stands for itself in a subject. What does not is neither a letter
// nor a digit, or has a meaning in a subject or in the name of a bucket's key.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// escape turns any bytes into one token of a subject: other bytes than plain ones become "=XX".
func escape(name string) string {
	special := 0
	for i := range len(name) {
		if !plain(name[i]) {
			special++
		}
	}
	if special == 0 {
		return name
	}
	token := make([]byte, 0, len(name)+2*special)
	for i := range len(name) {
		if c := name[i]; plain(c) {
			token = append(token, c)
		} else {
			token = append(token, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(token)
}

// unescape undoes escape. ok is false for a token that escape does not return.
func unescape(token string) (name string, ok bool) {
	if strings.IndexByte(token, '=') < 0 {
		return token, true
	}
	out := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			out = append(out, token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", false
		}
		high, low := strings.IndexByte(hexDigits, token[i+1]), strings.IndexByte(hexDigits, token[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	return string(out), true
}
