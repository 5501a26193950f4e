package transport

import "encoding/binary"

// headerSize is the length of a record's header: its type, a version and the length of what
// follows (RFC 8446, 5.1).
const headerSize = 5

// records follows the records in a stream of ciphertext, to tell whether it stands between two
// of them. The zero value stands at the start of a stream.
type records struct {
	header [headerSize]byte
	got    uint8 // bytes of header
	left   int32 // bytes of the record's body that are missing; counted when the header is whole
}

// pass follows p.
func (r *records) pass(p []byte) {
	for len(p) > 0 {
		if r.got < headerSize {
			n := copy(r.header[r.got:], p)
			p = p[n:]
			if r.got += uint8(n); r.got < headerSize {
				return
			}
			r.left = int32(binary.BigEndian.Uint16(r.header[3:]))
		}
		n := min(int(r.left), len(p))
		p = p[n:]
		if r.left -= int32(n); r.left == 0 {
			r.got = 0
		}
	}
}

// partial returns how many bytes of a record have passed that is not whole.
func (r *records) partial() int {
	if r.got < headerSize {
		return int(r.got)
	}
	return headerSize + int(binary.BigEndian.Uint16(r.header[3:])) - int(r.left)
}

// within reports whether a part of a record has passed.
func (r *records) within() bool { return r.got > 0 }
