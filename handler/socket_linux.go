package handler

import (
	"net"
	"os"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/lib/sync/wait"
)

// readsPerTurn bounds how often a client is read from in one turn, so that one
// that never stops sending does not hold up the others.
const readsPerTurn = 16

// slice is how long the frames of one client are served while others wait.
const slice = time.Millisecond

// socket is a frame handler's connection on the event loop: no goroutine and
// no buffer is its own while nothing happens.
type socket struct {
	eventloop.Socket
	accepted Accepted
	client   Client

	activity stdatomic.Int64 // the last byte either way
	stalled  stdatomic.Int64 // since when the socket takes nothing; zero if it does

	// Of who serves it.
	phase  phase
	opened bool // OnOpen did not fail
	unread bool // there may be something to read
	hup    bool // the end of the stream, or an error, is there to be read
	eof    bool // it was read
	left   bool // there may be whole frames in the buffer
	unsent bool // replies of the last batch may wait to be sent
	idled  bool // the client was paused
	woken  bool // time may be up
	pieces bool // a read may get less than there is: a unix socket's ends where a descriptor is passed

	// Under mu.
	hijacked bool
	closed   bool
	dead     bool // reset: the descriptor is another one

	inLoop stdatomic.Bool // others wait while a frame is served
	more   stdatomic.Pointer[more]

	mu    sync.Mutex
	armed stdatomic.Int64 // when Expired is called, zero for never; written under mu
}

// more is what a socket has near its end only, by the loop's clock.
type more struct {
	local net.Addr // under mu

	end       int64 // of the last look of a drain, of lingering, or of the wait for the acknowledgement
	pause     int64 // until that is asked for again
	next      int64 // when lingering reads again
	discarded int   // bytes, while lingering
}

func (s *socket) extra() *more {
	if s.more.Load() == nil {
		s.more.CompareAndSwap(nil, new(more))
	}
	return s.more.Load()
}

// phase is how far a socket has come.
type phase uint8

const (
	opening       phase = iota // OnOpen is still to be called
	serving                    // frames are
	flushing                   // the client has its end, but not all that was written
	lingering                  // it has the FIN, and may still be sending
	acknowledging              // it has not acknowledged all
	ended                      // it is closed, or has a new owner
)

func newSocket(a Accepted, g *eventloop.Group, h *Frames) *socket {
	s := &socket{accepted: a}
	s.client = Client{ctx: a.Context(), frames: h, begin: now(), wire: s, polled: true, direct: true}
	_, s.pieces = a.LocalAddr().(*net.UnixAddr)
	s.activity.Store(g.Now())
	return s
}

// Ready implements eventloop.Handler.
func (s *socket) Ready(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			s.accepted.Panicked(recover())
			s.client.end(ByServer, Panic, nil)
			more = true // to finish, where OnClose may panic too
		}
	}()
	more = s.step(w, ev)
	returned = true
	return more
}

// step does what ev allows, and reports whether it stopped because others wait.
func (s *socket) step(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	s.inLoop.Store(w.InLoop())
	if ev&eventloop.In != 0 {
		s.unread = true
	}
	if ev&eventloop.Hup != 0 {
		s.unread, s.hup = true, true
	}
	s.woken = ev&eventloop.Woken != 0
	if s.phase == opening {
		s.phase = serving
		s.opened = s.client.callOnOpen(s.inLoop.Load())
	}
	if s.phase == serving {
		if more, goesOn := s.serve(w); goesOn {
			s.settle(w)
			return more
		}
	}
	return s.finish(w)
}

// serve reads and serves what there is. It reports whether the client goes on,
// and whether that is to be soon.
func (s *socket) serve(w *eventloop.Worker) (more, goesOn bool) {
	c := &s.client
	until := int64(0) // where nobody waits
	if s.inLoop.Load() {
		until = w.Now() + int64(slice)
	}
	for reads := 0; ; {
		switch {
		case c.ended():
			return false, false
		case s.unsent:
			if !c.awaitOutput() {
				return false, true // until all is sent, or fails
			}
			s.unsent = false
			s.restart()
		case c.paused.Load():
			if c.draining.Load() {
				c.end(ByServer, Drain, nil)
				return false, false
			}
			s.idled = true
			return false, true
		case s.idled:
			s.idled = false
		case s.left:
			switch s.client.turn(s.eof, s.inLoop.Load(), until) {
			case drained:
				s.left = false
			case over:
				return false, false
			case early:
				if until != 0 && s.now() > until {
					return true, true
				}
			}
		case s.eof:
			c.end(ByClient, FIN, nil)
			return false, false
		case c.draining.Load():
			s.lastLook(w)
		case s.woken && !c.checkTime(s.inLoop.Load()):
			return false, false
		case !s.unread:
			return false, true
		case reads == readsPerTurn:
			return true, true
		default:
			reads++
			s.receive(w)
		}
	}
}

// restart has silence count from now.
func (s *socket) restart() {
	s.touch()
	if s.client.partial != 0 {
		s.client.partial = s.last()
	}
}

// receive reads once.
func (s *socket) receive(w *eventloop.Worker) {
	s.takeBuffer(w)
	space := s.client.in.Space()
	n, errno := netconn.RawRead(uintptr(s.FD()), space)
	switch {
	case errno == unix.EAGAIN:
		s.unread = false
	case errno != 0:
		s.client.endIO(os.NewSyscallError("read", errno))
	case n == 0:
		s.eof, s.left = true, true
	default:
		s.client.in.Filled(n)
		s.client.bytesIn += int64(n)
		s.left = true
		// Less than there is room for is all there was, and what comes now is
		// a new event; but not if the end is there too, which had its event.
		if n < len(space) && n < netconn.RawMax && !s.hup && !s.pieces {
			s.unread = false
		}
	}
}

// lastLook is what a drain leaves of reading: a client that is idle gets its
// FIN, unless a frame of its has arrived that was not read yet.
func (s *socket) lastLook(w *eventloop.Worker) {
	now := s.now()
	m := s.extra()
	if m.end == 0 {
		m.end = now + int64(lookTime)
	}
	if now <= m.end {
		s.unread = true
		s.receive(w)
	}
	if !s.left {
		s.client.end(ByServer, Drain, nil)
	}
}

// settle is the end of a turn of a client that goes on: it gives back what is not
// needed while nothing happens, and sees to the time-outs.
func (s *socket) settle(w *eventloop.Worker) {
	s.leaveBuffer(w)
	s.arm(s.nextDue())
}

// nextDue is Client.nextDue, and zero while nothing is read.
func (s *socket) nextDue() int64 {
	if s.idled || s.unsent {
		return 0
	}
	return s.client.nextDue()
}

// arm has Expired called when it is due. A timer that ends before is left as it
// is: who is called then arms the next.
func (s *socket) arm(due int64) {
	if at := s.armed.Load(); due == 0 || at != 0 && at <= due {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.armed.Load(); s.closed || s.hijacked || at != 0 && at <= due {
		return
	}
	s.armed.Store(due)
	s.SetTimer(due)
}

// Expired implements eventloop.Handler.
func (s *socket) Expired() {
	s.mu.Lock()
	s.armed.Store(0)
	s.mu.Unlock()
	s.checkStall()
	s.Wake()
}

// checkStall resets a client that takes nothing for too long. It may be called
// while a frame of the client is being served, which may wait for just that.
func (s *socket) checkStall() {
	c := &s.client
	limit, late := c.writeLimit()
	if s.stalled.Load() == 0 || limit == 0 {
		return
	}
	c.mu.Lock()
	// Until we had the lock the client may have taken something.
	since, now := s.stalled.Load(), s.now()
	if since == 0 {
		c.mu.Unlock()
		return
	}
	if queued := s.sendQueue(); c.out != nil && queued < c.out.queued {
		// Progress of which no event tells: for that, a good part of the
		// socket's buffer has to come free.
		c.out.queued = queued
		since = now
		s.stalled.Store(now)
		s.touch()
	}
	if due := since + int64(limit); now < due {
		c.mu.Unlock()
		s.arm(min(due, now+lookEvery(limit)))
		return
	}
	s.stalled.Store(0) // nothing more is written
	c.failLocked(late)
	c.mu.Unlock()
	s.reset()
}

// lookEvery is how often to look whether a client takes something.
func lookEvery(limit time.Duration) int64 {
	return int64(min(max(limit/16, 10*time.Millisecond), time.Second))
}

// sendQueue is how many bytes the socket has taken and not delivered yet.
func (s *socket) sendQueue() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.hijacked || s.dead {
		return 0
	}
	return netconn.Unsent(s.FD())
}

// Writable implements eventloop.Handler.
func (s *socket) Writable() { s.client.resumeOutput() }

// Slow implements eventloop.Handler.
func (s *socket) Slow() {
	s.inLoop.Store(false) // for the batches that follow
	s.client.spread()
}

// The wire of the client.

func (s *socket) addrs() (local, remote net.Addr) {
	return s.localAddr(), s.accepted.RemoteAddr()
}

// localAddr asks the system while it can, since the listener's address may be
// that of any host.
func (s *socket) localAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.localAddrLocked()
}

func (s *socket) localAddrLocked() net.Addr {
	if m := s.more.Load(); m != nil && m.local != nil {
		return m.local
	}
	if !s.closed && !s.hijacked && !s.dead {
		return netconn.LocalAddr(s.FD(), s.accepted.LocalAddr())
	}
	return s.accepted.LocalAddr()
}

func (s *socket) serverMode() CloseMode { return s.accepted.CloseMode() }

func (s *socket) endBatch(bytes, frames int64) {
	s.unsent = s.client.endBatch(bytes, frames, false) == errWouldBlock
}

// tryWrite is called by one goroutine at a time, and not after awaitOutput has
// reported that all is sent.
func (s *socket) tryWrite(parts [3][]byte) (int, error) {
	n, errno := netconn.RawWriteAll(uintptr(s.FD()), &parts)
	if errno == unix.EAGAIN {
		return n, s.block()
	}
	s.stalled.Store(0)
	if errno != 0 {
		return n, os.NewSyscallError("write", errno)
	}
	return n, nil
}

// block, under the client's mu, has Writable called when the socket takes more, and looks after the
// write time-out until then.
func (s *socket) block() error {
	if !s.client.watched {
		if err := s.WatchOut(); err != nil {
			return err
		}
		s.client.watched = true
	}
	now := s.now()
	s.client.out.queued = s.sendQueue() // also without a limit: wake may bring one
	s.stalled.Store(now)
	if limit, _ := s.client.writeLimit(); limit > 0 {
		s.arm(now + lookEvery(limit))
	}
	return errWouldBlock
}

// write is for connections that wait: see output.blocked.
func (s *socket) write([]byte) (int, error) { return 0, errWouldBlock }

func (s *socket) touch()      { s.activity.Store(s.now()) }
func (s *socket) last() int64 { return s.activity.Load() }

func (s *socket) now() int64 { return s.Socket.Now() }

func (s *socket) writers() *wait.Wait { return nil }

// wake also looks after a function that waits in a Write to a client which has its
// end now, and so a time-out in any case. Either block sees the end, or wake that
// the socket is stalled.
func (s *socket) wake() {
	if s.client.ended() && s.stalled.Load() != 0 {
		s.arm(s.now())
	}
	s.Wake()
}

func (s *socket) resume() { s.Wake() }

// reset sends the RST now, although somebody else may be using the descriptor:
// another socket takes its place, so that its number does not go to another
// connection meanwhile.
func (s *socket) reset() {
	s.mu.Lock()
	if s.closed || s.hijacked || s.dead {
		s.mu.Unlock()
		return
	}
	unix.SetsockoptLinger(s.FD(), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
		s.dead = unix.Dup3(other, s.FD(), unix.O_CLOEXEC) == nil
		unix.Close(other)
	}
	s.mu.Unlock()
	s.Wake() // who serves it closes it
}

// close closes the socket, with a RST if reset is set.
func (s *socket) close(reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.hijacked {
		return
	}
	if s.client.frames.OnClose != nil {
		s.extra().local = s.localAddrLocked() // it may ask
	}
	s.closed = true
	switch {
	case s.dead:
	case reset:
		unix.SetsockoptLinger(s.FD(), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case s.client.setsLinger(): // with a time, close(2) would hold up the loop
		unix.SetsockoptLinger(s.FD(), unix.SOL_SOCKET, unix.SO_LINGER, new(unix.Linger))
	}
	s.Close()
}
