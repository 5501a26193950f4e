package natsbus

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// maxMissed is how many ticks a node may not be heard before it is silent.
const maxMissed = 3

// youngAge is how many ticks after its start a node may be heard for the first time without that
// meaning that it was there before, behind a partition.
const youngAge = 3

// nodes are the other processes. They are counted in ticks and not in time: if this process was
// stopped, the others have not gone. One that was not heard for maxMissed ticks is silent: it may
// hang, until the server says that it has no connection any more.
type nodes struct {
	mu     sync.Mutex
	missed map[nodeID]int // ticks since the last beat
}

// heard notes a beat, and reports whether the node is new, or was silent.
func (n *nodes) heard(id nodeID) (isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.missed == nil {
		n.missed = make(map[nodeID]int)
	}
	missed, known := n.missed[id]
	n.missed[id] = 0
	return !known || missed > maxMissed
}

func (n *nodes) gone(id nodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.missed, id)
}

// goneSilent is gone for a node that has not been heard meanwhile.
func (n *nodes) goneSilent(id nodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.missed[id] > maxMissed {
		delete(n.missed, id)
	}
}

// tick returns the nodes that are silent.
func (n *nodes) tick() (silent []nodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.missed {
		if n.missed[id]++; n.missed[id] > maxMissed {
			silent = append(silent, id)
		}
	}
	return silent
}

// count returns how many nodes are not silent.
func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, missed := range n.missed {
		if missed <= maxMissed {
			count++
		}
	}
	return count
}

// all returns the nodes that are there, and those that are silent.
func (n *nodes) all() (there, silent map[nodeID]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	there, silent = make(map[nodeID]bool, len(n.missed)), make(map[nodeID]bool)
	for id, missed := range n.missed {
		if missed > maxMissed {
			silent[id] = true
		} else {
			there[id] = true
		}
	}
	return there, silent
}

// none reports whether no node is known.
func (n *nodes) none() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.missed) == 0
}

// look asks a silent node for anything, to find out whether it has gone: then nobody subscribes to
// its subject.
func (b *Bus) look(id nodeID) {
	b.loops.Go(func() {
		message := append([]byte{byte(kindProbe)}, b.id[:]...)
		if _, err := b.ask(b.ctx, b.names.node(id), message); errors.Is(err, errNobody) {
			b.nodes.goneSilent(id)
		}
	})
}

// tick does what has to be done once in a heartbeat.
func (b *Bus) tick() {
	b.eachHeartbeat(func() {
		b.age.Add(1)
		b.sendBeat(b.names.all())
		b.ping()
		if b.link.up.Load() { // otherwise nobody can be heard
			for _, id := range b.nodes.tick() {
				b.look(id)
			}
			b.recheckDue()
		}
		b.probe()
		b.serving.tick()
	})
}

// eachHeartbeat calls f once in a heartbeat until the bus ends.
func (b *Bus) eachHeartbeat(f func()) {
	ticker := time.NewTicker(b.heartbeat())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f()
		case <-b.ctx.Done():
			return
		}
	}
}

// sendBeat says that this node is there.
func (b *Bus) sendBeat(subject string) {
	message := append([]byte{byte(kindBeat)}, b.id[:]...)
	b.post(subject, "", binary.BigEndian.AppendUint32(message, b.age.Load()))
}

// serveNode serves what is sent to this node, or to all.
func (b *Bus) serveNode(what kind, body []byte, reply string) {
	c := cursor{rest: body}
	switch what {
	case kindBeat:
		if id, age := c.node(), c.uint32(); !c.bad {
			b.beat(id, age)
		}
	case kindBye:
		id := c.node()
		b.nodes.gone(id)
		b.calls.lose(id)
	case kindPresence:
		b.servePresence(string(body), reply)
	case kindKickShared:
		b.serveKickShared(&c, reply)
	case kindProbe:
		b.serveProbe(&c, reply)
	case kindCancel:
		b.serving.cancel(servedID{c.node(), c.uint64()})
	}
}

// beat serves a sign of life. A new node gets one at once. An older one that was not heard before
// comes from the other side of a partition of the servers: claims that were made there may
// contradict those that were made here.
func (b *Bus) beat(id nodeID, age uint32) {
	if id == b.id || !b.nodes.heard(id) { // see origin
		return
	}
	b.sendBeat(b.names.node(id))
	if age > youngAge {
		b.claims.checkSoon.Store(true)
	}
}
