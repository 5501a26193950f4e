package frame

import "bytes"

// firstWindow is how many bytes are searched for one delimiter before the next
// delimiter is tried. Each further window is twice as large. So a rare delimiter is not
// searched for in the whole buffer for every frame in it.
const firstWindow = 128

// find returns the index and length of the first delimiter in buf. The index is -1 if
// there is none, or if bytes that have not arrived may change the result. The first
// seen bytes contain no delimiter.
func (d *Delimiter) find(buf []byte, seen int, eof bool) (i, n int) {
	from := max(0, seen-d.longest()+1)
	if len(d.Or) == 0 {
		if i = bytes.Index(buf[from:], d.Delim); i < 0 {
			return -1, 0
		}
		return from + i, len(d.Delim)
	}
	for window := firstWindow; from < len(buf); window *= 2 {
		to := min(from+window, len(buf))
		if i, n = d.findIn(buf, from, to); i >= 0 {
			if !eof && d.undecided(buf, i, n) {
				return -1, 0
			}
			return i, n
		}
		from = to
	}
	return -1, 0
}

// findIn returns the first delimiter that begins in buf[from:to]; of several at the
// same place, the longest.
func (d *Delimiter) findIn(buf []byte, from, to int) (first, n int) {
	first = -1
	for k := range d.count() {
		delim := d.nth(k)
		end := min(to+len(delim)-1, len(buf))
		i := bytes.Index(buf[from:end], delim)
		if i < 0 {
			continue
		}
		i += from
		if first < 0 || i < first || len(delim) > n {
			first, n = i, len(delim)
		}
		to = i + 1 // later matches do not matter
	}
	return first, n
}

// undecided reports whether buf ends in the first part of a delimiter that would come
// before the match of n bytes at i, or be longer.
func (d *Delimiter) undecided(buf []byte, i, n int) bool {
	for k := range d.count() {
		delim := d.nth(k)
		for j := max(0, len(buf)-len(delim)+1); j <= i; j++ {
			if (j < i || len(delim) > n) && isPrefix(buf[j:], delim) {
				return true
			}
		}
	}
	return false
}

// straddles reports whether a delimiter begins in payload and continues in the Delim
// after it, as with "-" sent before "--", or may continue in what follows.
func (d *Delimiter) straddles(payload []byte) bool {
	for k := range d.count() {
		delim := d.nth(k)
		for j := max(0, len(payload)-len(delim)+1); j < len(payload); j++ {
			rest, ok := bytes.CutPrefix(delim, payload[j:])
			if ok && (bytes.HasPrefix(rest, d.Delim) || bytes.HasPrefix(d.Delim, rest)) {
				return true
			}
		}
	}
	return false
}

// isPrefix reports whether part is a prefix of whole, and shorter.
func isPrefix(part, whole []byte) bool {
	return len(part) < len(whole) && bytes.HasPrefix(whole, part)
}

// count returns the number of delimiters.
func (d *Delimiter) count() int { return 1 + len(d.Or) }

// nth returns Delim for 0, then the elements of Or.
func (d *Delimiter) nth(k int) []byte {
	if k == 0 {
		return d.Delim
	}
	return d.Or[k-1]
}

// longest returns the length of the longest delimiter.
func (d *Delimiter) longest() int {
	n := len(d.Delim)
	for _, or := range d.Or {
		n = max(n, len(or))
	}
	return n
}
