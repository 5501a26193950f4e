package proxy

import (
	"os"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
)

const (
	// turnReads and turnBytes bound what is moved one way before others have their
	// turn.
	turnReads = 16
	turnBytes = 256 << 10

	// spliceAfter is how many reads in a row must fill the buffer for a stream to
	// be spliced. Small messages are cheaper to copy: a splice is two calls for
	// each direction of a pipe, and a read and a write are two in all.
	spliceAfter = 2

	// spliceLeast is how much a splice must move to be worth it, and spliceUntil how
	// many in a row must move less for the stream to be copied again. One alone says
	// little: between two bursts each stream has a short one.
	spliceLeast = bufferSize / 2
	spliceUntil = 4
)

// flow is one direction. While nothing waits to be written it holds nothing.
type flow struct {
	buffer *[bufferSize]byte // nil if nothing waits in one
	begin  int               // of what waits in it
	end    int

	pipe *pipe // nil if nothing waits in one

	splices bool
	against uint8 // reads in a row that say that it should be the other way

	read, written int64
}

// pending reports whether something was read and is not written.
func (f *flow) pending() bool { return f.buffer != nil || f.pipe != nil }

// drop throws away what waits.
func (f *flow) drop(pipes *pipes) {
	if f.buffer != nil {
		buffers.Put(f.buffer)
		f.buffer = nil
	}
	if f.pipe != nil {
		pipes.put(f.pipe)
		f.pipe = nil
	}
}

// pump moves from e to the other side what can be moved without waiting, and reports
// whether it stopped because others wait.
func (e *end) pump(w *eventloop.Worker, now int64) (more bool) {
	to, f := e.other(), &e.flow
	for reads, end := 0, f.read+turnBytes; ; reads++ {
		switch {
		case e.pair.phase > resetting || to.broken:
			return false
		case f.pending():
			if to.full || !e.send(to, now) {
				return false
			}
			continue
		case e.eof:
			if !e.broken && !to.finSent {
				to.shut(now)
			}
			return false
		case !e.unread:
			return false
		case reads >= turnReads || f.read >= end:
			return true
		case f.splices:
			e.fill(now)
		default:
			e.copy(w, to, now)
		}
	}
}

// bufferOf is the worker's buffer, which it keeps for its next turn.
func bufferOf(w *eventloop.Worker) *[bufferSize]byte {
	b, _ := w.Local.(*[bufferSize]byte)
	if b == nil {
		b = buffers.Get().(*[bufferSize]byte)
		w.Local = b
	}
	return b
}

// copy reads once, into the worker's buffer, and writes that.
func (e *end) copy(w *eventloop.Worker, to *end, now int64) {
	b := bufferOf(w)
	n, errno := netconn.RawRead(uintptr(e.FD()), b[:])
	if !e.took(n, errno, now) {
		return
	}
	// Less than there is room for is all there was, and what comes now is a new
	// event; but not if the end is there too, which had its event, nor on a unix
	// socket, of which a read ends behind bytes that a descriptor came with.
	if n < len(b) && !e.hup && !e.unix {
		e.unread = false
	}
	f := &e.flow
	f.judge(n == len(b), spliceAfter)
	sent, errno := netconn.RawWrite(uintptr(to.FD()), b[:n])
	f.written += int64(sent)
	switch {
	case errno != 0 && errno != unix.EAGAIN:
		e.failedTo(to, errno)
	case sent < n:
		w.Local = nil // it stays with the flow
		f.buffer, f.begin, f.end = b, sent, n
		if errno == unix.EAGAIN {
			to.block()
		}
	}
}

// took notes the outcome of a read, and reports whether something was read.
func (e *end) took(n int, errno unix.Errno, now int64) bool {
	p := e.pair
	switch {
	case errno == unix.EAGAIN:
		e.unread = false
		e.eof = e.broken // what it had sent is read
	case errno != 0:
		e.breaks(os.NewSyscallError("read", errno))
		e.eof = true
	case n == 0:
		e.eof = true
	default:
		e.flow.read += int64(n)
		p.activity = now
		p.lastUp = e == &p.upstream
		return true
	}
	return false
}

// breaks notes that the connection is broken. Nobody takes what waits for it.
func (e *end) breaks(err error) {
	e.broken = true
	e.other().flow.drop(&e.pair.proxy.engine.pipes)
	e.pair.endIO(e.party(), err)
}

// failedTo notes that a write failed. What that side has sent before is still read,
// and is relayed.
func (e *end) failedTo(to *end, errno unix.Errno) {
	to.breaks(os.NewSyscallError("write", errno))
	to.unread = true
	to.Wake()
}

// block notes that the socket takes no more, and has the loop tell when it does.
func (e *end) block() {
	e.full = true
	if e.watched {
		return
	}
	if err := e.WatchOut(false); err != nil {
		e.breaks(err)
		e.eof = true
		return
	}
	e.watched = true
}

// send writes what waits, and reports whether that was all.
func (e *end) send(to *end, now int64) bool {
	f := &e.flow
	for f.pending() {
		var n int
		var errno unix.Errno
		if f.pipe != nil {
			n, errno = f.pipe.writeTo(to.FD())
		} else {
			n, errno = netconn.RawWrite(uintptr(to.FD()), f.buffer[f.begin:f.end])
			f.begin += n
		}
		if n > 0 {
			f.written += int64(n)
			e.pair.activity = now
		}
		if n == 0 && errno == 0 {
			errno = unix.EPIPE // that does not happen, and would go on for ever
		}
		switch {
		case errno == unix.EAGAIN:
			to.block()
			return false
		case errno != 0:
			e.failedTo(to, errno)
			return false
		case f.pipe != nil && f.pipe.size == 0 || f.pipe == nil && f.begin == f.end:
			f.drop(&e.pair.proxy.engine.pipes)
		}
	}
	return true
}

// fill splices once from the socket into a pipe. Where there is none to be had, it
// leaves the rest to copying.
func (e *end) fill(now int64) {
	f, pipes := &e.flow, &e.pair.proxy.engine.pipes
	pipe := pipes.get()
	if pipe == nil {
		f.splices, f.against = false, 0
		return
	}
	// The pipe is empty, so EAGAIN is the socket's. But a splice stops at a TCP
	// urgent byte as if nothing were there, or as if it were the end; and some
	// systems do not let us splice at all. A read tells, and goes on.
	n, errno := pipe.readFrom(e.FD())
	refused := errno == unix.EINVAL || errno == unix.ENOSYS || errno == unix.EPERM
	if refused {
		pipes.close()
	}
	if refused || n == 0 && (errno == 0 || errno == unix.EAGAIN && e.hup) {
		pipes.put(pipe)
		f.splices, f.against = false, 0
		return
	}
	if !e.took(n, errno, now) {
		pipes.put(pipe)
		return
	}
	f.pipe = pipe
	f.judge(n < spliceLeast, spliceUntil)
}

// judge goes from copying to splicing, or back, after so many reads in a row that speak
// against what is done now.
func (f *flow) judge(against bool, limit uint8) {
	if !against {
		f.against = 0
	} else if f.against++; f.against >= limit {
		f.splices, f.against = !f.splices, 0
	}
}

// discard reads and throws away what a side sends after it has its FIN.
func (e *end) discard(w *eventloop.Worker) (more bool) {
	b := bufferOf(w)
	for reads := 0; e.unread && !e.eof; reads++ {
		if reads == turnReads {
			return true
		}
		n, errno := netconn.RawRead(uintptr(e.FD()), b[:])
		switch {
		case errno == unix.EAGAIN:
			e.unread = false
		case errno != 0 || n == 0:
			e.eof = true
		}
	}
	return false
}
