package eventloop

import (
	"runtime"
	"slices"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"go.uber.org/atomic"

	"wireline/lib/sync/wait"
)

// engine is a set of event loops with a goroutine each, and a watchdog. Groups share it: it ends
// with its last group.
type engine struct {
	base     time.Time // Now counts from here
	loops    []*loop
	turn     atomic.Uint32 // which loop gets the next socket
	table    table
	watchdog *watchdog

	processors int // that the runtime uses

	workers    workers
	goroutines wait.Wait
	closing    atomic.Bool
	running    atomic.Int32 // loops that have not ended

	groups stdatomic.Pointer[[]*Group] // replaced under shared.mu
}

// shared is the engine of the process, if it has one now.
var shared struct {
	mu     sync.Mutex // also guards the groups of all engines
	engine *engine
}

// newEngine starts n loops; one for each processor if n is not positive.
func newEngine(n int) (*engine, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	e := &engine{base: time.Now(), processors: runtime.GOMAXPROCS(0)}
	e.groups.Store(new([]*Group))
	var err error
	if e.watchdog, err = newWatchdog(e); err != nil {
		return nil, err
	}
	for range n {
		l, err := newLoop(e)
		if err != nil {
			e.release()
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	e.running.Store(int32(n))
	e.goroutines.Add(n + 1)
	e.watchdog.stir() // the loops are awake
	go e.watchdog.run()
	for _, l := range e.loops {
		go l.run(newOwner())
	}
	return e, nil
}

func newOwner() *Worker { return &Worker{inLoop: true} }

// join adds a group. The caller holds shared.mu.
func (e *engine) join() *Group {
	g := &Group{engine: e}
	g.sockets.Store(1) // until Stop
	g.end.Add(1)
	g.learnt.quiet = minQuiet
	for _, l := range e.loops {
		g.seats = append(g.seats, seat{l, g})
	}
	groups := append(slices.Clone(*e.groups.Load()), g)
	e.groups.Store(&groups)
	return g
}

// leave removes a group whose last socket has left. The engine ends with its last group.
func (e *engine) leave(g *Group) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	groups := slices.DeleteFunc(slices.Clone(*e.groups.Load()), func(other *Group) bool { return other == g })
	e.groups.Store(&groups)
	if len(groups) > 0 {
		return
	}
	if shared.engine == e {
		shared.engine = nil
	}
	e.closing.Store(true)
	for _, l := range e.loops {
		l.ring()
	}
}

// choose picks the emptier of two loops.
func (e *engine) choose() int {
	n := len(e.loops)
	i := int(e.turn.Inc() % uint32(n))
	j := (i + n/2) % n
	if e.loops[j].sockets.Load() < e.loops[i].sockets.Load() {
		return j
	}
	return i
}

func (e *engine) now() int64 { return int64(time.Since(e.base)) }

// loopEnded releases what the engine holds when the last loop has ended.
func (e *engine) loopEnded() {
	if e.running.Dec() == 0 {
		e.release()
	}
}

func (e *engine) release() {
	for _, l := range e.loops {
		l.close()
	}
	e.watchdog.timer.Close()
}

// workers is the set of workers that keep a socket.
type workers struct {
	n   atomic.Int32
	mu  sync.Mutex
	all map[*Worker]struct{}
}

func (ws *workers) len() int { return int(ws.n.Load()) }

func (ws *workers) add(w *Worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = make(map[*Worker]struct{})
	}
	ws.all[w] = struct{}{}
	ws.n.Store(int32(len(ws.all)))
}

func (ws *workers) remove(w *Worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.socket = nil
	delete(ws.all, w)
	ws.n.Store(int32(len(ws.all)))
	if len(ws.all) == 0 {
		ws.all = nil // a map does not shrink
	}
}

func (ws *workers) sweep() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		w.dismiss()
	}
}
