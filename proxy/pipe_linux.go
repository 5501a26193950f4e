package proxy

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
)

const (
	// pipeSize is how much a pipe holds, and so the most that one splice moves. It is the
	// default limit for unprivileged users (/proc/sys/fs/pipe-max-size).
	pipeSize = 1 << 20

	// maxPipes bounds the pipes of a proxy, and so their file descriptors. A stream has a
	// pipe only while bytes are in it, so only those with slow readers hold one for long.
	// Beyond the bound, streams are copied.
	maxPipes = 64

	// idlePipes is how many empty pipes are kept.
	idlePipes = 8
)

// pipe holds spliced bytes between two sockets.
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

// splice is splice(2) without waiting. With SPLICE_F_MORE the kernel would hold back the
// last packet, as it does under TCP_CORK.
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

// pipes are the pipes of one proxy.
type pipes struct {
	mu     sync.Mutex
	idle   []*pipe // all of them empty
	open   int
	closed bool
}

// get returns an empty pipe; nil if none can be had.
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
	unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // if this fails, 64 KiB will do
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes a pipe back. If it is not empty, it is closed.
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

// close closes the idle pipes. Those in use are closed by put, and get returns none any
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
