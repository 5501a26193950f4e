package client

import "container/list"

// queuedCost is what a frame in a queue counts besides its bytes.
const queuedCost = 128

// queue holds frames that wait for a connection. The zero value is empty.
type queue struct {
	frames list.List // of *queued
	size   int
}

// queued is a frame in a queue.
type queued struct {
	frame   []byte
	request *request // nil for one of Send
}

func (q *queued) size() int { return len(q.frame) + queuedCost }

func (q *queue) len() int { return q.frames.Len() }

// add adds a frame at the end. It reports false if the queue would hold more than limit bytes then.
func (q *queue) add(frame []byte, r *request, limit int) bool {
	item := &queued{frame, r}
	if q.size+item.size() > limit {
		return false
	}
	q.note(item, q.frames.PushBack(item))
	return true
}

// putBack adds a frame at the front again.
func (q *queue) putBack(item *queued) { q.note(item, q.frames.PushFront(item)) }

// note counts a frame that has been added.
func (q *queue) note(item *queued, place *list.Element) {
	q.size += item.size()
	if item.request != nil {
		item.request.place = place
	}
}

// take takes the frame that was added first; nil if there is none.
func (q *queue) take() *queued {
	first := q.frames.Front()
	if first == nil {
		return nil
	}
	return q.remove(first)
}

// remove takes a frame out.
func (q *queue) remove(place *list.Element) *queued {
	item := q.frames.Remove(place).(*queued)
	q.size -= item.size()
	if item.request != nil {
		item.request.place = nil
	}
	return item
}
