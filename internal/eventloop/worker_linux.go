package eventloop

import "go.uber.org/atomic"

// keeping is the part of a Worker that keeps its socket: the worker waits for the next
// event instead of ending.
type keeping struct {
	socket *Socket
	wake   chan bool     // the next event is there; false to end
	turns  atomic.Uint32 // calls of Ready
	swept  uint32        // turns at the watchdog's last look
	ended  bool          // the watchdog has ended it; owned by the watchdog
}

// spawn serves s, which the caller has claimed, in a goroutine of its own.
func (e *engine) spawn(s *Socket, ev Event) {
	e.goroutines.Add(1)
	go func() {
		defer e.goroutines.Done()
		w := new(Worker)
		w.guard(s, func() {
			more := w.turn(s, ev)
			w.serve(s, more)
		})
	}()
}

// workOn goes on with s after its worker has lost the loop.
func (w *Worker) workOn(s *Socket, more bool) {
	w.inLoop = false
	w.guard(s, func() { w.serve(s, more) })
}

// guard calls serve, and goes on with s in another goroutine if runtime.Goexit
// ends this one.
func (w *Worker) guard(s *Socket, serve func()) {
	returned := false
	defer func() {
		w.quit(s.seat.loop.engine)
		if !returned && !s.gone() {
			s.seat.loop.engine.spawn(s, 0)
		}
	}()
	serve()
	returned = true
}

// serve calls Ready until no event is left. While functions block, it keeps s and waits
// for the next event: a new goroutine for each event would cost more.
func (w *Worker) serve(s *Socket, more bool) {
	e, g := s.seat.loop.engine, s.seat.group
	for !s.gone() {
		switch {
		case more:
		case !g.learnt.blocking.Load():
			w.quit(e) // before another goroutine can serve s
			if s.release() {
				return
			}
		case !w.await(s):
			return
		}
		more = w.turn(s, s.take())
	}
}

// await waits for the next event of s. It reports false if the watchdog has dismissed the
// worker, as there was none for a while; s is back on its loop then.
func (w *Worker) await(s *Socket) bool {
	if w.socket == nil {
		w.socket, w.ended = s, false
		w.wake = make(chan bool, 1)
		s.seat.loop.engine.workers.add(w)
	}
	return !s.keep(w) || <-w.wake
}

// quit takes w out of the set that the watchdog sweeps.
func (w *Worker) quit(e *engine) {
	if w.socket != nil {
		e.workers.remove(w)
	}
}

func (w *Worker) turn(s *Socket, ev Event) (more bool) {
	e, learnt := s.seat.loop.engine, &s.seat.group.learnt
	began := e.now()
	more = s.handler.Ready(w, ev)
	if took := e.now() - began; took >= int64(longTurn) {
		learnt.long.Add(took)
		if took >= int64(slowTurn) {
			learnt.slow.Inc()
		}
	}
	w.turns.Inc()
	return more
}

// dismiss ends w if it has done nothing since the last call.
func (w *Worker) dismiss() {
	turns := w.turns.Load()
	if !w.ended && turns == w.swept && w.socket.state.CompareAndSwap(waiting, free) {
		w.ended = true // it may not have run by the next call
		w.wake <- false
	}
	w.swept = turns
}
