package hub

// listening says whether the messages of a room come from the bus. Hub.mu guards it, and is not
// held while the bus is called.
type listening struct {
	stop func() // nil if they do not come
	busy bool   // a goroutine calls the bus
}

// tuneLocked notes that a room has got its first client of this process, or lost the last. unlock
// goes on with it.
func (h *Hub) tuneLocked(room string) {
	if h.Bus != nil {
		h.due.rooms = append(h.due.rooms, room)
	}
}

// tune has the messages of a room come if somebody is in it, and not if nobody is. If a goroutine is
// doing so already, that one looks again when its call is done.
func (h *Hub) tune(room string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.listening[room]
	if l == nil {
		if h.listening == nil {
			h.listening = make(map[string]*listening)
		}
		l = new(listening)
		h.listening[room] = l
	}
	if l.busy {
		return
	}
	l.busy = true
	for wanted := h.rooms[room] != nil; wanted != (l.stop != nil); wanted = h.rooms[room] != nil {
		h.mu.Unlock()
		if wanted {
			l.stop = h.Bus.Listen(room)
		} else {
			l.stop()
			l.stop = nil
		}
		h.mu.Lock()
	}
	l.busy = false
	if l.stop == nil {
		delete(h.listening, room)
	}
}
