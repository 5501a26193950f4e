package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"wireline/handler"
)

// maxKept is the largest reply buffer, and the largest list of arguments, that is kept for a
// client's next command, in bytes.
const (
	maxKeptOut  = 64 << 10
	maxKeptArgs = 1 << 10
)

// server is what all sessions share: the store, the commands, and the statistics.
type server struct {
	frames   handler.Frames
	codec    Codec
	store    *store
	commands *table
	begin    time.Time

	// Each session counts its own commands, so that the processors do not share one counter.
	// INFO adds them up.
	mu       sync.Mutex
	sessions map[*session]struct{}
	opened   int64 // sessions since the start
	executed int64 // commands of the sessions that have ended
}

// session is the state of one client. Only the client's own commands, which run one after the
// other, use it, except for the field commands.
type session struct {
	server *server
	store  *store
	client *handler.Client

	args [][]byte
	out  []byte // the reply
	name string // as the client has set it

	commands atomic.Int64 // how many were executed
}

// newServer returns a server with an empty store. The caller may set timeouts in its frames,
// and closes it when all clients have ended.
func newServer(codec Codec) *server {
	s := &server{
		codec:    codec,
		store:    newStore(nil),
		commands: newTable(),
		begin:    time.Now(),
		sessions: make(map[*session]struct{}),
	}
	s.frames.Codec = codec
	s.frames.OnOpen = s.open
	s.frames.OnFrame = serve
	s.frames.OnError = lastWords
	s.frames.OnEnd = s.ended
	return s
}

// close releases the store.
func (s *server) close() { s.store.close() }

func (s *server) open(c *handler.Client) error {
	x := &session{server: s, store: s.store, client: c}
	c.Value = x
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[x] = struct{}{}
	s.opened++
	return nil
}

// ended takes a client out when its end begins: the close may linger for two seconds, when the
// client keeps its side open, and Redis does not count such a client either.
func (s *server) ended(c *handler.Client) {
	x := c.Value.(*session)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, x)
	s.executed += x.commands.Load()
}

// totals returns how many clients are connected, how many have ever been, and how many
// commands they have executed.
func (s *server) totals() (clients int, opened, executed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	executed = s.executed
	for x := range s.sessions {
		executed += x.commands.Load()
	}
	return len(s.sessions), s.opened, executed
}

// serve executes one command and writes its reply.
func serve(c *handler.Client, frame []byte) error {
	x := c.Value.(*session)
	err := x.serve(frame)
	if len(x.out) > 0 {
		if _, failed := c.Write(x.out); failed != nil {
			err = failed
		}
	}
	x.reset()
	return err
}

// serve executes the command in frame. Its reply is in x.out then.
func (x *session) serve(frame []byte) error {
	if frame[0] == '*' {
		x.args = parseArray(x.args, frame)
		return x.execute(x.args)
	}
	var ok bool
	if x.args, ok = parseInline(x.args, frame); !ok {
		x.out = appendProtocolError(x.out, errQuotes)
		return handler.ErrQuit
	}
	if len(x.args) == 0 {
		return nil
	}
	return x.execute(x.args)
}

// reset prepares x for the next command. It drops the references to the last one: the arguments
// are slices of a buffer that may be large, and that another client may use next.
func (x *session) reset() {
	clear(x.args)
	x.args, x.out = x.args[:0], x.out[:0]
	if cap(x.args) > maxKeptArgs {
		x.args = nil
	}
	if cap(x.out) > maxKeptOut {
		x.out = nil
	}
}

// flushLarge writes what is ready of a reply if it is large, so that a reply of many values is
// not held as a whole.
func (x *session) flushLarge() error {
	if len(x.out) < maxKeptOut {
		return nil
	}
	_, err := x.client.Write(x.out)
	x.out = x.out[:0]
	return err
}

// lastWords sends a client the error that ends its connection, if Redis sends one.
func lastWords(c *handler.Client, err error) {
	var bad protocolError
	if errors.As(err, &bad) {
		c.Write(appendProtocolError(nil, bad))
	}
}

func appendProtocolError(dst []byte, err protocolError) []byte {
	return appendError(dst, fmt.Sprintf("ERR %v", err))
}
