package hub

import (
	"errors"

	"go.uber.org/atomic"

	"wireline/handler"
)

// Stats counts the clients and rooms of a Hub, and what it has done. All of it is about this process: about its clients,
// and about its calls of Send, Publish and Request. The totals of several processes can be added up.
type Stats struct {
	Clients     int // that have joined
	Rooms       int // that somebody is in
	Memberships int // of all clients in their rooms

	Joined   int64 // clients that have joined since the start; Joined - Left are there
	Left     int64 // that have left again, or have ended
	Replaced int64 // those of them whose key went to a newer client, here or in another process
	Kicked   int64 // clients that Kick has closed, for this process or another one
	Refused  int64 // Joins that ended with ErrTaken
	Failed   int64 // Joins that failed because of the Bus

	Sends     SendStats
	Publishes PublishStats
	Requests  RequestStats

	Bus *BusStats // nil without a Bus
}

// SendStats counts calls of Send by what they returned.
type SendStats struct {
	Sent    int64 // nil
	Slow    int64 // handler.ErrSlowReader
	Gone    int64 // handler.ErrClosed
	Unknown int64 // ErrUnknown
	Failed  int64 // another error, such as ErrAway or ErrLost
}

// PublishStats counts messages to rooms.
type PublishStats struct {
	Messages int64 // calls of Publish
	Failed   int64 // those of them whose message the Bus has not taken, or that were ended before

	// The deliveries to clients of this process, also of messages from other processes; see Published.
	Sent, Slow, Gone int64
}

// RequestStats counts calls of Request.
type RequestStats struct {
	Waiting  int64 // for an answer, now
	Answered int64
	Failed   int64 // ended with an error
}

// Stats returns what the hub has done until now. It does not wait, and starts no Bus.
func (h *Hub) Stats() Stats {
	var s Stats
	h.mu.RLock()
	s.Clients, s.Rooms, s.Memberships = len(h.members), len(h.rooms), h.memberships
	s.Joined, s.Left, s.Replaced = h.joined, h.left, h.replaced
	h.mu.RUnlock()
	c := &h.counts
	s.Kicked, s.Refused, s.Failed = c.kicked.Load(), c.refused.Load(), c.failed.Load()
	s.Sends = c.sends.stats()
	s.Publishes = c.publishes.stats()
	s.Requests = c.requests.stats()
	if h.Bus != nil {
		bus := h.Bus.Stats()
		s.Bus = &bus
	}
	return s
}

// counts are totals that are counted without the hub's lock: once for a call, whatever the number of
// clients that it concerns.
type counts struct {
	kicked, refused, failed atomic.Int64 // failed are Joins

	sends     sendCounts
	publishes publishCounts
	requests  requestCounts
}

// addJoin counts a Join with its result. Those that have succeeded are counted under the lock.
func (c *counts) addJoin(err error) {
	switch {
	case errors.Is(err, ErrTaken):
		c.refused.Inc()
	case err == nil, errors.Is(err, handler.ErrClosed), errors.Is(err, ErrClosed), errors.Is(err, ErrName):
	default:
		c.failed.Inc()
	}
}

// sendCounts are SendStats while they are counted.
type sendCounts struct{ sent, slow, gone, unknown, failed atomic.Int64 }

// add counts a Send with its result.
func (c *sendCounts) add(err error) {
	switch {
	case err == nil:
		c.sent.Inc()
	case errors.Is(err, ErrUnknown):
		c.unknown.Inc()
	case isSlow(err):
		c.slow.Inc()
	case errors.Is(err, handler.ErrClosed):
		c.gone.Inc()
	default:
		c.failed.Inc()
	}
}

func (c *sendCounts) stats() SendStats {
	return SendStats{
		Sent:    c.sent.Load(),
		Slow:    c.slow.Load(),
		Gone:    c.gone.Load(),
		Unknown: c.unknown.Load(),
		Failed:  c.failed.Load(),
	}
}

// publishCounts are PublishStats while they are counted.
type publishCounts struct{ messages, failed, sent, slow, gone atomic.Int64 }

// add counts a Publish of this process with its result.
func (c *publishCounts) add(err error) {
	c.messages.Inc()
	if err != nil {
		c.failed.Inc()
	}
}

// addDeliveries counts the deliveries of one message.
func (c *publishCounts) addDeliveries(p Published) {
	c.sent.Add(int64(p.Sent))
	if p.Slow > 0 {
		c.slow.Add(int64(p.Slow))
	}
	if p.Gone > 0 {
		c.gone.Add(int64(p.Gone))
	}
}

func (c *publishCounts) stats() PublishStats {
	return PublishStats{
		Messages: c.messages.Load(),
		Failed:   c.failed.Load(),
		Sent:     c.sent.Load(),
		Slow:     c.slow.Load(),
		Gone:     c.gone.Load(),
	}
}

// requestCounts are RequestStats while they are counted.
type requestCounts struct{ waiting, answered, failed atomic.Int64 }

// end counts a Request that is over. It was added to waiting at its begin.
func (c *requestCounts) end(err error) {
	c.waiting.Dec()
	if err == nil {
		c.answered.Inc()
	} else {
		c.failed.Inc()
	}
}

func (c *requestCounts) stats() RequestStats {
	return RequestStats{Waiting: c.waiting.Load(), Answered: c.answered.Load(), Failed: c.failed.Load()}
}
