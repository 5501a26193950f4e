package tcp

import (
	"slices"
	"sync"
	"weak"

	"wireline/handler"
	"wireline/internal/memlimit"
)

// bufferShare is which part of the memory that the process may use is for buffers, by
// default: the garbage collector may need as much again, and connections themselves need memory.
const bufferShare = 4

// defaultMemory is shared by the servers whose MaxBuffered is zero.
var defaultMemory = sync.OnceValue(func() *handler.Memory {
	return &handler.Memory{Limit: memlimit.Get() / bufferShare}
})

// budgets are what the clients of a server count for. All methods are safe for concurrent use.
type budgets struct {
	mu      sync.Mutex
	current *handler.Memory // for new clients; nil without a limit
	former  []weak.Pointer[handler.Memory]
}

// replace makes m the budget of new clients. The former one is remembered while it has clients,
// unless it is also that of other servers.
func (b *budgets) replace(m *handler.Memory) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == b.current {
		return
	}
	b.former = slices.DeleteFunc(b.former, func(w weak.Pointer[handler.Memory]) bool { return w.Value() == nil })
	if b.current != nil && b.current != defaultMemory() {
		b.former = append(b.former, weak.Make(b.current))
	}
	b.current = m
}

// used is how many bytes are buffered.
func (b *budgets) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.current.Used()
	for _, w := range b.former {
		n += w.Value().Used() // of nil it is 0
	}
	return n
}

// buffers returns the budget for what is buffered for new clients; nil without a limit.
// It may be asked before the server is set up.
func (s *Server) buffers() *handler.Memory {
	s.measure()
	s.budgets.mu.Lock()
	defer s.budgets.mu.Unlock()
	return s.budgets.current
}

// buffered is how many bytes are buffered for all clients.
func (s *Server) buffered() int64 {
	s.measure()
	return s.budgets.used()
}

// newBuffers makes the budget that cfg asks for.
func (s *Server) newBuffers(cfg *Config) *handler.Memory {
	switch {
	case s.Memory != nil:
		return s.Memory
	case cfg.MaxBuffered > 0:
		return &handler.Memory{Limit: int64(cfg.MaxBuffered)}
	case cfg.MaxBuffered < 0:
		return nil
	}
	return defaultMemory()
}
