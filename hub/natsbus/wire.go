package natsbus

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"wireline/handler"
	"wireline/hub"
)

// nodeID names a process, or rather one life of its bus. It is random.
type nodeID [8]byte

func newNodeID() (id nodeID) {
	rand.Read(id[:]) // never fails
	return id
}

func (id nodeID) String() string { return hex.EncodeToString(id[:]) }

// kind is the first byte of a message. A message of a room has none: it is the payload alone, so
// that other programs can read and publish it.
type kind byte

const (
	// To the process that has a key, on the subject of the key, or in a kindDirect.
	kindSend    kind = iota + 1 // payload
	kindRequest                 // node, the id of the request, payload
	kindKick                    // reason
	kindHas                     // nothing
	kindClaim                   // claim.head
	kindRelease                 // nothing; only in a kindDirect: the sender takes the key over

	// To a node.
	kindDirect // the number of a claim, its key, then a message of the kinds above
	kindProbe  // node, the ids of its requests: which of them are not under way?
	kindCancel // node, the id of a request of its whose caller has gone

	// To all nodes.
	kindBeat       // node, its age in ticks: it is there
	kindBye        // node: it has ended
	kindPresence   // the name of a room
	kindKickShared // a key, which may be at several nodes, and a reason
)

// verdict is the first byte of an answer.
type verdict byte

const (
	verdictOK       verdict = iota + 1 // what was asked for
	verdictError                       // an index in sentinels, then a text
	verdictMore                        // of kindPresence: as verdictOK, and another answer follows
	verdictAccepted                    // of kindRequest: node. It is under way there
	verdictMoved                       // the claim that a kindDirect names is not there
	verdictChecking                    // the node does not know now whether it owns the key
	verdictTaken                       // of kindClaim: taken. The other claim goes first
	verdictReleased                    // of kindClaim and kindRelease: nobody has the key here

	// verdictShared is a bit: other processes may have the key too, and answer.
	verdictShared verdict = 0x80
)

// answer is an answer that has arrived, or what has come in its place.
type answer struct {
	verdict verdict
	data    []byte
	shared  bool  // it, or one before it, has said verdictShared
	err     error // no answer will come
}

// sentinels are the errors that keep their identity on the way to another process. Their order is
// part of the format.
var sentinels = []error{
	errors.New("natsbus: an error of the other process"), // of those that are not in the list
	hub.ErrUnknown, handler.ErrSlowReader, handler.ErrClosed, hub.ErrNotJoined, hub.ErrNoID,
	hub.ErrIDInUse, hub.ErrClosed, hub.ErrLost, hub.ErrAway, ErrBusy,
}

// remoteError is an error of another process: its text, and the sentinel that it wraps.
type remoteError struct {
	text     string
	sentinel error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

// encodeError returns an answer that says err.
func encodeError(err error) []byte {
	index := 0
	for i, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			index = i
			break
		}
	}
	text := err.Error()
	if index > 0 && text == sentinels[index].Error() {
		text = ""
	}
	return append([]byte{byte(verdictError), byte(index)}, text...)
}

// decodeError returns the error of an answer whose verdict is verdictError.
func decodeError(data []byte) error {
	if len(data) == 0 || int(data[0]) >= len(sentinels) {
		return sentinels[0]
	}
	sentinel := sentinels[data[0]]
	if len(data) == 1 {
		return sentinel
	}
	return &remoteError{string(data[1:]), sentinel}
}

// A cursor reads the parts of a message. A message that is too short sets bad.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) take(n int) []byte {
	if len(c.rest) < n {
		c.bad, c.rest = true, nil
		return make([]byte, n)
	}
	part := c.rest[:n]
	c.rest = c.rest[n:]
	return part
}

func (c *cursor) byte() byte     { return c.take(1)[0] }
func (c *cursor) uint32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) uint64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }
func (c *cursor) node() nodeID   { return nodeID(c.take(8)) }
func (c *cursor) text() string   { return string(c.take(int(binary.BigEndian.Uint16(c.take(2))))) }

// appendText adds a text of less than 64 KiB.
func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// order says which of two claims of a key was made later, as far as the clocks tell. No two claims
// have the same.
type order struct {
	seq  uint64 // microseconds since 1970, or more than in all claims that the node has seen
	node nodeID
}

func (o order) after(other order) bool {
	if o.seq != other.seq {
		return o.seq > other.seq
	}
	return string(o.node[:]) > string(other.node[:])
}

func appendOrder(b []byte, o order) []byte {
	return append(binary.BigEndian.AppendUint64(b, o.seq), o.node[:]...)
}

func (c *cursor) order() order { return order{c.uint64(), c.node()} }
