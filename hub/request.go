package hub

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"wireline/handler"
)

var (
	// ErrNoID is returned by Request when Hub.ID finds no id in the payload, or is not set.
	ErrNoID = errors.New("hub: the request has no id")
	// ErrIDInUse is returned by Request when another request with the id waits for the client, or was
	// given up and may still be answered.
	ErrIDInUse = errors.New("hub: a request with this id is under way")
)

// maxGivenUp is how many requests that were given up are remembered for a client.
const maxGivenUp = 1000

// request is one that waits for its answer, or was given up.
type request struct {
	id      string
	answers chan []byte // has room for the answer; closed when the client leaves
	givenUp bool
}

// requests are those to one client.
type requests struct {
	mu      sync.Mutex
	ended   bool
	waiting map[string]*request // for an answer; also those that were given up
	givenUp []*request          // the last ones, the oldest first
}

// Request sends payload as a frame to the client with the key, and waits for the frame with the
// same id, by Hub.ID, that is given to Answer. With AllowBoth, it asks the newest client.
//
// With a Bus, a request that is not for a client of this process goes to the process that has the
// client.
//
// The caller owns the answer. If ctx ends first, the error is its cause; the id cannot be used again
// until the answer has come, or 1000 later requests to the client were given up. If the client
// leaves, the error is handler.ErrClosed with the reason, or ErrNotJoined if it has left the hub
// alone. It may also be ErrNoID, ErrIDInUse, or one of Send. An error does not say that the client
// has not received the request.
func (h *Hub) Request(ctx context.Context, key string, payload []byte) (answer []byte, err error) {
	h.counts.requests.waiting.Inc()
	defer func() { h.counts.requests.end(err) }()
	answer, err = h.requestHere(ctx, key, payload)
	if h.Bus == nil || err != ErrUnknown {
		return answer, err
	}
	if err := h.reach(key); err != nil {
		return nil, err
	}
	return h.Bus.Request(ctx, key, payload)
}

// requestHere is Request to a client of this process.
func (h *Hub) requestHere(ctx context.Context, key string, payload []byte) (answer []byte, err error) {
	h.mu.RLock()
	m := h.liveLocked(key)
	h.mu.RUnlock()
	if m == nil {
		return nil, ErrUnknown
	}
	if h.ID == nil {
		return nil, ErrNoID
	}
	id, ok := h.ID(payload)
	if !ok {
		return nil, ErrNoID
	}
	r, err := m.requests.begin(id)
	if err != nil {
		return nil, err
	}
	if err := m.client.Offer(&handler.Message{Payload: payload}); err != nil {
		m.requests.forget(r)
		return nil, err
	}
	select {
	case answer, ok := <-r.answers:
		if !ok {
			return nil, m.whyGone()
		}
		return answer, nil
	case <-ctx.Done():
		m.requests.giveUp(r)
		return nil, context.Cause(ctx)
	}
}

// whyGone is the error of a request whose client has left.
func (m *member) whyGone() error {
	if err := context.Cause(m.client.Context()); err != nil {
		return err
	}
	return ErrNotJoined
}

// Answer gives a frame of c to the Request that waits for it, and reports whether there is one. A
// frame function calls it first, and serves the frame itself if there is none: a late or repeated
// answer is not taken. It copies the frame.
func (h *Hub) Answer(c *handler.Client, frame []byte) bool {
	if h.ID == nil {
		return false
	}
	id, ok := h.ID(frame)
	if !ok {
		return false
	}
	h.mu.RLock()
	m := h.members[c]
	h.mu.RUnlock()
	return m != nil && m.requests.answer(id, frame)
}

// begin notes a request.
func (s *requests) begin(id string) (*request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, ErrUnknown
	case s.waiting[id] != nil:
		return nil, ErrIDInUse
	case s.waiting == nil:
		s.waiting = make(map[string]*request)
	}
	r := &request{id: id, answers: make(chan []byte, 1)}
	s.waiting[id] = r
	return r, nil
}

// forget ends a request that was not sent.
func (s *requests) forget(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(r)
}

// removeLocked takes a request out, if it has not ended.
func (s *requests) removeLocked(r *request) {
	if s.waiting[r.id] != r {
		return
	}
	// A client may have thousands of requests at one time, but hardly for ever.
	if delete(s.waiting, r.id); len(s.waiting) == 0 {
		s.waiting, s.givenUp = nil, nil
	}
}

// giveUp notes that nobody waits for a request any more. Its answer may come, and must not become that
// of another request with the same id.
func (s *requests) giveUp(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[r.id] != r { // it has ended
		return
	}
	r.givenUp = true
	if s.givenUp = append(s.givenUp, r); len(s.givenUp) > maxGivenUp {
		oldest := s.givenUp[0]
		s.givenUp = s.givenUp[1:]
		s.removeLocked(oldest)
	}
}

// answer gives a frame to the request with the id, and reports whether somebody waits for it.
func (s *requests) answer(id string, frame []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.waiting[id]
	if r == nil {
		return false
	}
	s.removeLocked(r)
	if r.givenUp {
		return false
	}
	r.answers <- bytes.Clone(frame)
	return true
}

// end ends all requests: their client has left.
func (s *requests) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	for _, r := range s.waiting {
		close(r.answers)
	}
	s.waiting, s.givenUp = nil, nil
}
