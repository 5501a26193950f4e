package natsbus

import (
	"strconv"
	"strings"
)

// origin says which node has published a message of a room, and counts its messages. It stands in
// the place of a reply subject.
//
// It is needed when a node connects again: the server may read the last messages of the old
// connection after the subscriptions, and the first messages, of the new one. Then the node would
// get its own messages, and others would get the old ones after newer ones.
type origin struct {
	node string
	seq  uint64
}

// next returns the origin of the next message.
func (o *origin) next() string {
	o.seq++
	return o.node + "." + strconv.FormatUint(o.seq, 36)
}

// maxOrigins is how many nodes are remembered. There are fewer at a time.
const maxOrigins = 10_000

// origins are the last messages that came from each node.
type origins struct {
	own  string
	last map[string]uint64
}

func newOrigins(own nodeID) *origins {
	return &origins{own: own.String(), last: make(map[string]uint64)}
}

// isNext reports whether a message is to be delivered: it is not our own, and none that was sent
// after it has come from the same node. Other programs that publish have no origin.
func (o *origins) isNext(text string) bool {
	node, number, ok := strings.Cut(text, ".")
	seq, err := strconv.ParseUint(number, 36, 64)
	if !ok || err != nil {
		return true
	}
	if node == o.own || seq <= o.last[node] {
		return false
	}
	if len(o.last) >= maxOrigins {
		clear(o.last)
	}
	o.last[node] = seq
	return true
}
