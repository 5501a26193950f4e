package proxy

import (
	"os"

	"golang.org/x/sys/unix"
)

// splice reads once from the socket into a pipe, and writes that to the other one, so that
// the bytes never reach the process. It reports false where the side is to be read
// otherwise.
func (s *side) splice(now int64) bool {
	f, p := &s.flow, s.pair
	pipes := &p.proxy().pipes
	var pipe *pipe
	if s.isBare() && s.other().isBare() {
		pipe = pipes.get()
	}
	if pipe == nil {
		f.splices, f.against = false, 0
		return false
	}
	// The pipe is empty, so EAGAIN is the socket's. But a splice stops at a TCP urgent byte
	// as if nothing were there, or as if it were the end; and some systems do not let us
	// splice at all. A read tells, and goes on.
	n, errno := pipe.readFrom(s.socket.FD())
	refused := errno == unix.EINVAL || errno == unix.ENOSYS || errno == unix.EPERM
	if refused {
		pipes.close()
	}
	if refused || n == 0 && (errno == 0 || errno == unix.EAGAIN && p.wire.sides[s.id].has(hangup)) {
		pipes.put(pipe)
		f.splices, f.against = false, 0
		return false
	}
	var err error
	if errno != 0 && errno != unix.EAGAIN {
		err = os.NewSyscallError("read", errno)
	}
	if !p.wire.received(s.id, false, n, errno == unix.EAGAIN, err, now) {
		pipes.put(pipe)
		p.dropUnwanted()
		return true
	}
	f.read += int64(n)
	f.pipe = pipe
	f.judge(n < spliceLeast, spliceUntil)
	s.flush(now)
	return true
}
