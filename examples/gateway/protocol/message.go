package protocol

import (
	"encoding/binary"
	"fmt"

	"wireline/lib/frame"
)

// Type says what a message is.
type Type byte

// The types. A response has the sequence of what it responds to.
const (
	Login     Type = 0x01 // of the device, first of all: its id
	Reading   Type = 0x02 // of the device: see Measurement
	Heartbeat Type = 0x03 // of either side: the other one sends Ack
	Answer    Type = 0x04 // of the device, to Command: see Result
	Ack       Type = 0x05 // to Reading or Heartbeat, without a payload
	Welcome   Type = 0x81 // of the gateway, to Login: see Silence
	Command   Type = 0x82 // of the gateway: whatever the device understands
	Failure   Type = 0x83 // of the gateway, before it closes the connection: see Error
)

// headerSize is the size of the type and the sequence.
const headerSize = 1 + 4

// MaxPayload is the longest payload in bytes that a length of 16 bits allows.
const MaxPayload = 1<<16 - 1 - headerSize

// Codec returns the codec for messages whose payload has at most maxPayload bytes, from 0 to
// MaxPayload. Its frames are for Parse, and what Append has made is for its frames.
func Codec(maxPayload int) frame.Checked {
	marker := []byte{0xa5, 0x5a}
	return frame.Checked{
		Magic:    marker,
		Length:   frame.Length{Width: 2, Max: headerSize + maxPayload},
		Checksum: frame.CRC16CCITTFalse,
		Skip:     len(marker),
	}
}

// Message is what a frame contains.
type Message struct {
	Type     Type
	Sequence uint32 // each side counts the messages that it begins with
	Payload  []byte
}

// Parse takes a frame of Codec apart. The payload is a part of frame. The error is an *Error.
func Parse(frame []byte) (Message, error) {
	if len(frame) < headerSize {
		return Message{}, &Error{BadMessage, fmt.Sprintf("%d bytes are too few for a message", len(frame))}
	}
	return Message{Type(frame[0]), binary.BigEndian.Uint32(frame[1:]), frame[headerSize:]}, nil
}

// Append appends m to dst, for a frame of Codec.
func (m Message) Append(dst []byte) []byte {
	dst = append(dst, byte(m.Type))
	dst = binary.BigEndian.AppendUint32(dst, m.Sequence)
	return append(dst, m.Payload...)
}

// Bytes returns m as a new slice.
func (m Message) Bytes() []byte { return m.Append(make([]byte, 0, headerSize+len(m.Payload))) }
