package handler

import (
	"context"
	"sync"
	"time"

	"wireline/lib/eventloop"
	"wireline/lib/frame"
)

// engineStop bounds the wait for the loops to end once their last client has
// left. A frame function that was cut and does not return is left behind.
const engineStop = time.Second

// engine has the event loops of a frame handler. They start with the first
// socket.
type engine struct {
	mu      sync.Mutex
	group   *eventloop.Group
	failed  bool
	stopped bool
}

// start returns the loops, nil if there are none: then every connection has a
// goroutine.
func (e *engine) start() *eventloop.Group {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.group == nil && !e.failed && !e.stopped {
		var err error
		e.group, err = eventloop.New(0)
		e.failed = err != nil // out of descriptors, say
	}
	return e.group
}

func (e *engine) stop() {
	e.mu.Lock()
	e.stopped = true
	g := e.group
	e.mu.Unlock()
	if g != nil {
		g.Stop()
		g.Wait(engineStop)
	}
}

// RegisterSocket implements SocketRegistrar: the socket is served by an event
// loop.
func (h *Frames) RegisterSocket(ctx context.Context, fd int, session Session) bool {
	h.once.Do(h.init)
	g := h.engine.start()
	if g == nil {
		return false
	}
	s := newSocket(ctx, g, session, h)
	if g.Add(&s.Socket, fd, s) != nil {
		return false
	}
	if !h.clients.add(s.client) {
		s.close(false)
		session.Done()
		return true
	}
	if h.OnOpen != nil {
		s.Wake() // it is the first to act
	}
	s.arm(&s.inputDue, s.nextDue())
	s.Start()
	return true
}

// local is what a goroutine that calls Ready keeps.
type local struct {
	in *frame.Buffer
}

// takeBuffer returns an empty buffer, the worker's own if it has one.
func takeBuffer(w *eventloop.Worker) *frame.Buffer {
	if l, ok := w.Local.(*local); ok && l.in != nil {
		in := l.in
		l.in = nil
		return in
	}
	return buffers.Get().(*frame.Buffer)
}

// giveBuffer gives an empty buffer back. A loop keeps it, also a large one: the
// next client's frames may be as long.
func giveBuffer(w *eventloop.Worker, in *frame.Buffer) {
	in.Reset()
	if w.InLoop() && in.Cap() <= maxLoopBuffer {
		l, ok := w.Local.(*local)
		if !ok {
			l = new(local)
			w.Local = l
		}
		if l.in == nil || l.in.Cap() < in.Cap() {
			l.in, in = in, l.in
		}
	}
	if in != nil && in.Cap() <= maxPooled {
		buffers.Put(in)
	}
}

// maxLoopBuffer is the largest buffer that a loop keeps for its clients.
const maxLoopBuffer = 4 << 20
