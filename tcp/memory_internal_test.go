package tcp

import (
	"testing"

	"wireline/handler"
	"wireline/internal/memlimit"
)

func TestMaxBuffered(t *testing.T) {
	shared := &handler.Memory{Limit: 7}
	byDefault := new(Server).buffers()
	if byDefault == nil || byDefault.Limit != memlimit.Get()/4 {
		t.Errorf("by default %+v", byDefault)
	}
	for name, test := range map[string]struct {
		server *Server
		want   int64
	}{
		"set":       {&Server{Config: Config{MaxBuffered: 1 << 20}}, 1 << 20},
		"none":      {&Server{Config: Config{MaxBuffered: -1}}, 0},
		"shared":    {&Server{Config: Config{MaxBuffered: 1 << 20}, Memory: shared}, 7},
		"unlimited": {&Server{Memory: &handler.Memory{}}, 0},
	} {
		m := test.server.buffers()
		if limit := limitOf(m); limit != test.want {
			t.Errorf("%s: %d, want %d", name, limit, test.want)
		}
	}
	if new(Server).buffers() != byDefault {
		t.Error("two servers with the default do not share it")
	}
}

func limitOf(m *handler.Memory) int64 {
	if m == nil {
		return 0
	}
	return m.Limit
}
