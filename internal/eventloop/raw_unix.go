//go:build unix && !aix

package eventloop

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/netconn"
)

// raw is the transport of a socket of package net. It reads and writes past package net,
// without waiting and whatever the deadlines are, and waits with package net's poller.
type raw struct {
	*Portable
	socket syscall.RawConn
	pieces bool // a read can return less than there is; see Socket.Read

	// The functions that run with the file descriptor. They are made once: a new one for
	// each call would be an allocation. Below are their arguments and results.
	onInput, onBreak, onOutput  func(fd uintptr) (done bool)
	onRead, onWrite, onThrowing func(fd uintptr)

	// The serving goroutine's.
	asked   bool  // onInput was called in this wait
	found   Event // by onInput
	told    bool  // of a break
	in      []byte
	n       int // read or discarded
	limit   int
	drained bool
	inErr   error

	// The caller's of write.
	out    [3][]byte
	outN   int
	outErr error

	askedOut bool // the writing goroutine's: onOutput was called in this wait
	again    bool // under mu: WatchOut was called while there was a writing goroutine
}

// newRaw returns nil if conn is no socket of package net.
func newRaw(p *Portable) transport {
	r := &raw{Portable: p}
	var sc syscall.Conn
	switch conn := bare(p.conn).(type) {
	case *net.TCPConn:
		sc = conn
	case *net.UnixConn:
		sc, r.pieces = conn, true
	default:
		return nil
	}
	socket, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	r.socket = socket
	r.onInput, r.onBreak, r.onOutput = r.input, isBroken, r.output
	r.onRead, r.onWrite, r.onThrowing = r.readNow, r.writeNow, r.discardNow
	return r
}

func (r *raw) await() (ev Event, late bool) {
	r.asked = false
	err := r.socket.Read(r.onInput)
	switch {
	case err == nil:
		return r.found, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, true
	}
	return In | Hup, false // closed by Reset
}

// input is called before the wait for input and after it. The first time it looks for
// itself: Read of syscall.RawConn forgets what the poller knew. It does not look with
// MSG_PEEK, which takes the error that waits on the socket.
func (r *raw) input(fd uintptr) (done bool) {
	if r.asked {
		r.found = In
		return true
	}
	r.asked = true
	r.found = inputOf(fd)
	return r.found != 0
}

// inputOf asks the system for the events that there are now.
func inputOf(fd uintptr) (ev Event) {
	got := pollNow(fd, unix.POLLIN|pollHup)
	if got != 0 {
		ev = In
	}
	if got&(pollHup|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
		ev |= Hup
	}
	return ev
}

func (r *raw) readErr() error { return nil }

func (r *raw) tellsBreak() bool { return !r.told }

func (r *raw) awaitBreak() (ev Event, late bool) {
	err := r.socket.Read(r.onBreak)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, true
	}
	r.told = true
	return Hup, false
}

// isBroken reports whether the connection on a socket is broken, or has ended both ways. In
// a wait for that, it is called again whenever something arrives.
func isBroken(fd uintptr) bool {
	return pollNow(fd, 0)&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}

func (r *raw) read(p []byte) (n int, drained bool, err error) {
	r.in = p
	err = r.socket.Control(r.onRead)
	r.in = nil
	if err != nil {
		return 0, false, err
	}
	return r.n, r.drained, r.inErr
}

func (r *raw) readNow(fd uintptr) {
	n, errno := recv(fd, r.in)
	r.n, r.drained, r.inErr = readResult(r.in, n, errno, r.pieces)
}

func (r *raw) look(p []byte) (n int, drained bool, err error) { return r.read(p) }

func (r *raw) discard(limit int) (n int, drained bool) {
	r.limit = limit
	if r.socket.Control(r.onThrowing) != nil {
		return 0, false
	}
	return r.n, r.drained
}

func (r *raw) discardNow(fd uintptr) {
	r.n = discard(fd, r.limit, r.pieces)
	// At the end of the stream there is no further event.
	r.drained = r.n < r.limit && !ended(fd)
}

func (r *raw) write(parts [3][]byte) (n int, err error) {
	r.out = parts
	err = r.socket.Control(r.onWrite)
	r.out = [3][]byte{}
	if err != nil {
		return 0, err
	}
	return r.outN, r.outErr
}

func (r *raw) writeNow(fd uintptr) { r.outN, r.outErr = writeResult(send(fd, &r.out)) }

func (r *raw) watchOut(bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writing {
		r.again = true
	} else if r.use() {
		r.writing = true
		go r.awaitOutput()
	}
}

// awaitOutput is the writing goroutine: it calls Writable whenever the socket takes
// more, as long as WatchOut is called.
func (r *raw) awaitOutput() {
	defer r.release()
	for more := true; more; {
		if r.awaitOnce() {
			r.handler.Writable()
		}
		r.mu.Lock()
		more = r.again && !r.gone()
		r.writing = more
		r.mu.Unlock()
	}
}

// awaitOnce waits until the socket takes more, or is broken. It reports false if the
// connection was closed or removed.
func (r *raw) awaitOnce() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.gone() {
		r.inWrite, r.askedOut = true, false
		r.mu.Unlock()
		err := r.socket.Write(r.onOutput)
		r.mu.Lock()
		r.leaveWrite()
		switch {
		case r.gone():
		case errors.Is(err, os.ErrDeadlineExceeded): // from an owner of before
			r.conn.SetWriteDeadline(time.Time{})
		default:
			r.again = false
			return true
		}
	}
	return false
}

// output is like input.
func (r *raw) output(fd uintptr) (done bool) {
	if r.askedOut {
		return true
	}
	r.askedOut = true
	return pollNow(fd, unix.POLLOUT) != 0
}

func (r *raw) unsent() int { return netconn.Unacknowledged(bare(r.conn)) }

func (r *raw) interrupt() { r.conn.SetWriteDeadline(past) }

func (r *raw) returned() {}

func (r *raw) parked() {}

func (r *raw) finish() {}

func (r *raw) leave() (rest []byte) { return nil }

// readResult is what Read of a Conn returns after a recv(2) that has returned n and
// errno.
func readResult(p []byte, n int, errno unix.Errno, pieces bool) (int, bool, error) {
	switch {
	case errno == unix.EAGAIN:
		return 0, true, nil
	case errno != 0:
		return 0, false, os.NewSyscallError("read", errno)
	case n == 0:
		return 0, false, io.EOF
	}
	return n, !pieces && n < len(p) && n < maxRecv, nil
}

// writeResult is what Write of a Conn returns after a send(2).
func writeResult(n int, errno unix.Errno) (int, error) {
	if errno == 0 || errno == unix.EAGAIN {
		return n, nil
	}
	return n, os.NewSyscallError("write", errno)
}
