package protocol

// MaxName is the longest id of a device, and the longest name of a measurement, in bytes.
const MaxName = 64

// IsName reports whether s may be an id or a name of a measurement: 1 to MaxName letters, digits,
// dots, hyphens and underscores, in ASCII, of which the first is a letter or a digit. So it needs no
// escaping in a log or in a URL, and is not a path's "..".
func IsName(s string) bool {
	for i, r := range []byte(s) {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case i > 0 && (r == '.' || r == '-' || r == '_'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= MaxName
}
