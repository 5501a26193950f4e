package hub

const MaxGivenUp = maxGivenUp

// Kept returns how many keys and rooms the hub knows about at its bus.
func (h *Hub) Kept() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.claims) + len(h.listening)
}
