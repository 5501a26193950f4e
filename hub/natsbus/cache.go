package natsbus

import "sync"

// maxCached is how many owners a process remembers.
const maxCached = 1 << 16

// cache remembers owners of keys. What it says may be old: the process that is asked knows better.
type cache struct {
	mu     sync.Mutex
	owners map[string]owner
}

func (s *cache) get(key string) (owner, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.owners[key]
	return o, ok
}

func (s *cache) put(key string, o owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners == nil {
		s.owners = make(map[string]owner)
	}
	for old := range s.owners {
		if len(s.owners) < maxCached {
			break
		}
		delete(s.owners, old) // any one
	}
	s.owners[key] = o
}

// forget forgets the owner of a key, unless it is another one now.
func (s *cache) forget(key string, o owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners[key] == o {
		delete(s.owners, key)
	}
}
