package frame

import "bytes"

// firstWindow is how many bytes are searched for one delimiter before the next
// one is tried; each further step takes twice as many. So a delimiter that is
// rare is not sought through a whole buffer for every frame in it.
const firstWindow = 128

// find returns where the first delimiter in buf stands and how long it is, or
// -1 when there is none or when what is still to come may change that. The
// first seen bytes had none.
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

// findIn returns the first delimiter that begins in buf[from:to], and of those
// at the same place the longest.
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
		to = i + 1 // a later one is of no interest
	}
	return first, n
}

// undecided reports whether buf ends in the beginning of a delimiter that would
// come before the one of n bytes at i, or be longer.
func (d *Delimiter) undecided(buf []byte, i, n int) bool {
	for k := range d.count() {
		delim := d.nth(k)
		for j := max(0, len(buf)-len(delim)+1); j <= i; j++ {
			if (j < i || len(delim) > n) && begins(buf[j:], delim) {
				return true
			}
		}
	}
	return false
}

// straddles reports whether a delimiter would begin in payload and go on in
// Delim after it ("-" sent before "--"), or may do so with what follows.
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

// begins reports whether part is the beginning of whole, and shorter.
func begins(part, whole []byte) bool {
	return len(part) < len(whole) && bytes.HasPrefix(whole, part)
}

// count returns how many delimiters there are.
func (d *Delimiter) count() int { return 1 + len(d.Or) }

// nth returns Delim, then those of Or.
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
