package handshakes

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// The record layer of TLS (RFC 8446, 5.1).
const (
	recordHeader  = 5 // type, version, length of what follows
	typeHandshake = 22
	maxPlaintext  = 16 << 10
)

// hello hands a client's first message to crypto/tls in four pieces or more, each as a record of its own. RFC
// 8446, 5.1, lets a message of the handshake be spread over records, and only messages are part of what
// both sides verify.
//
// crypto/tls has a buffer for what it reads, and one for a message, and keeps both as long as the
// connection lives. The first begins with 576 bytes, which is enough for short records, and grows for
// one that a Read of as much does not return whole: to 2 KiB for a hello with a post-quantum key
// share. The pieces are not larger than that. The second doubles when it is full. With four equal
// pieces it does so twice, and is as large then as with one. More pieces are for a hello of more than 2
// KB, which is rare.
type hello struct {
	rest   []byte          // read from the connection, and not returned
	piece  int             // the length of a piece
	start  [3]byte         // of its header
	buffer [helloRoom]byte // under rest, unless that is longer
}

// helloRoom is enough for most hellos.
const helloRoom = 2 << 10

// hellos keeps what drop has given back.
var hellos = sync.Pool{New: func() any { return new(hello) }}

// maxPiece is the longest piece that a Read of crypto/tls can return with its header: it reads by
// bytes.Buffer.ReadFrom.
const maxPiece = bytes.MinRead - recordHeader

// cutHello takes b, with which the first Read of conn was filled, and reads the rest of the record. It
// returns nil for what is to stay as it is: it is no hello, or b has all of it.
func cutHello(conn net.Conn, b []byte) (*hello, error) {
	if len(b) < bytes.MinRead || b[0] != typeHandshake {
		return nil, nil
	}
	size, body := int(binary.BigEndian.Uint16(b[3:])), b[recordHeader:]
	if size <= len(body) || size > maxPlaintext {
		return nil, nil
	}
	h := hellos.Get().(*hello)
	h.piece, h.start = min((size+3)/4, maxPiece), [3]byte(b)
	h.rest = h.buffer[:]
	if size > helloRoom {
		h.rest = make([]byte, size)
	}
	h.rest = h.rest[:size]
	if _, err := io.ReadFull(conn, h.rest[copy(h.rest, body):]); err != nil {
		h.drop()
		return nil, err
	}
	return h, nil
}

// Read returns the next piece.
func (h *hello) Read(b []byte) (int, error) {
	n := min(h.piece, len(h.rest), len(b)-recordHeader)
	if n <= 0 {
		return 0, io.ErrShortBuffer
	}
	record := binary.BigEndian.AppendUint16(append(b[:0], h.start[:]...), uint16(n))
	record = append(record, h.rest[:n]...)
	h.rest = h.rest[n:]
	return len(record), nil
}

// drop gives h back. The caller must not use it any more.
func (h *hello) drop() {
	h.rest = nil
	hellos.Put(h)
}
