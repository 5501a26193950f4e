package main

import (
	"iter"
	"time"
)

// history is the last messages of a room, the oldest first. It holds at most size of them.
type history struct {
	size     int
	messages []message // a ring once it is full
	oldest   int
}

// message is a line as users were sent it.
type message struct {
	line string
	at   time.Time
}

// add adds a message, in the place of the oldest one if the history is full.
func (h *history) add(m message) {
	switch {
	case len(h.messages) < h.size:
		h.messages = append(h.messages, m)
	case h.size > 0:
		h.messages[h.oldest] = m
		h.oldest = (h.oldest + 1) % h.size
	}
}

// all returns an iterator over the messages.
func (h *history) all() iter.Seq[message] {
	return func(yield func(message) bool) {
		for i := range h.messages {
			if !yield(h.messages[(h.oldest+i)%len(h.messages)]) {
				return
			}
		}
	}
}
