package protocol

import (
	"io"
	"net"

	"wireline/lib/frame"
)

// Conn is a connection of a device to the gateway. ReadMessage may be used by one goroutine at a time, WriteMessage by any
// number.
type Conn struct {
	net.Conn
	codec frame.Checked
	in    frame.Buffer
}

// NewConn returns conn as a Conn.
func NewConn(conn net.Conn) *Conn { return &Conn{Conn: conn, codec: Codec(MaxPayload)} }

// ReadMessage waits for a message. Its payload is valid until the next call. At the end of the stream
// the error is io.EOF, or io.ErrUnexpectedEOF within a frame.
func (c *Conn) ReadMessage() (Message, error) {
	for eof := false; ; {
		f, ok, err := c.in.Next(c.codec, eof)
		switch {
		case err != nil:
			return Message{}, err
		case ok:
			return Parse(f)
		case eof:
			return Message{}, io.EOF
		}
		n, err := c.Conn.Read(c.in.Space())
		c.in.Filled(n)
		if eof = err == io.EOF; err != nil && !eof {
			return Message{}, err
		}
	}
}

// WriteMessage sends a message, as one call of Write.
func (c *Conn) WriteMessage(m Message) error {
	f, err := c.codec.Append(nil, m.Bytes())
	if err != nil {
		return err
	}
	_, err = c.Conn.Write(f)
	return err
}
