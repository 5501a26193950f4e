package proxy

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
)

const (
	// pipeSize is how much a pipe holds, and so how much one splice moves. More is
	// what the system allows everybody (/proc/sys/fs/pipe-max-size).
	pipeSize = 1 << 20

	// maxPipes bounds the pipes of a proxy, and with them its file descriptors.
	// A pipe is taken only while something is in it; only streams whose readers
	// are slow hold one for longer. Beyond the bound they are copied.
	maxPipes = 64

	// idlePipes is how many empty ones are kept for the next.
	idlePipes = 8
)

// pipe is where spliced bytes are between two sockets.
type pipe struct {
	r, w int
	size int // bytes in it
}

// readFrom splices from a socket into the pipe, which is empty.
func (p *pipe) readFrom(fd int) (int, unix.Errno) {
	n, errno := splice(fd, p.w, pipeSize)
	p.size += n
	return n, errno
}

// writeTo splices from the pipe, which is not empty, into a socket, as far as that takes
// it.
func (p *pipe) writeTo(s *eventloop.Socket) (n int, err error) {
	for p.size > 0 {
		m, errno := splice(p.r, s.FD(), p.size)
		p.size -= m
		n += m
		switch {
		case errno == unix.EAGAIN:
			return n, nil
		case m == 0 && errno == 0:
			errno = unix.EPIPE // it does not happen, and would go on for ever
			fallthrough
		case errno != 0:
			return n, os.NewSyscallError("write", errno)
		}
	}
	return n, nil
}

// splice is splice(2) without waiting. SPLICE_F_MORE is left out: the kernel would
// hold back the last packet, as TCP_CORK does.
func splice(from, to, most int) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// pipes are those of one proxy.
type pipes struct {
	mu     sync.Mutex
	idle   []*pipe // empty ones
	open   int
	closed bool
}

// get returns an empty pipe; nil if there is none to be had.
func (ps *pipes) get() *pipe {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return nil
	}
	if n := len(ps.idle); n > 0 {
		p := ps.idle[n-1]
		ps.idle = ps.idle[:n-1]
		return p
	}
	if ps.open >= maxPipes {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil // out of descriptors
	}
	ps.open++
	unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // or 64 KiB, which do as well
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes a pipe back. One that is not empty is closed with what is in it.
func (ps *pipes) put(p *pipe) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.size == 0 && len(ps.idle) < idlePipes && !ps.closed {
		ps.idle = append(ps.idle, p)
		return
	}
	ps.closeLocked(p)
}

func (ps *pipes) closeLocked(p *pipe) {
	unix.Close(p.r)
	unix.Close(p.w)
	ps.open--
}

// close closes those that wait, and from now on each that comes back; there are no
// more.
func (ps *pipes) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closed = true
	for _, p := range ps.idle {
		ps.closeLocked(p)
	}
	ps.idle = nil
}
