package eventloop

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"wireline/internal/netconn"
)

const (
	// readSize is how much is read at once.
	readSize = 16 << 10

	// writeSize is the most that one write carries out; a write of no more than
	// smallWrite bytes gets a buffer of that size.
	writeSize  = 64 << 10
	smallWrite = 4 << 10

	// lookTime is for how long a Look waits.
	lookTime = time.Millisecond

	// maxLooks is how often a Look tries if the machine is too busy for lookTime.
	maxLooks = 10

	// writesInTurn is how many writes the serving goroutine carries out before it
	// goes on with reading, and leaves the rest to another goroutine.
	writesInTurn = 16

	// finishTime is for how long Close waits for the last write.
	finishTime = time.Second
)

var (
	readBuffers  = sync.Pool{New: func() any { return new([readSize]byte) }}
	writeBuffers = sync.Pool{New: func() any { return new([writeSize]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([smallWrite]byte) }}
)

// overlapped is the transport over a net.Conn whose Read and Write wait, named after
// what Windows has: the serving goroutine reads into a buffer, from which Read takes. A
// Write copies its bytes and says that it would have to wait. After WatchOut a goroutine
// carries it out, and the next Write reports what has become of it.
type overlapped struct {
	*Portable
	resumes bool // Write may be repeated after a timeout

	// The serving goroutine's.
	buffer *[readSize]byte
	unread []byte // in buffer
	err    error  // of Read, for when all is read
	waited bool   // a Read has waited for input until it was interrupted just now

	// Under mu.
	stage   stage
	out     []byte // what is written; at the beginning of its buffer
	written int    // how much of it was
	outErr  error
	waiters bool // WatchOut was called after the write had finished
	poked   bool // the write deadline is over, so that the write under way returns
}

// stage is how far the current write is.
type stage uint8

const (
	idle     stage = iota // there is none
	begun                 // a Write has copied it
	deferred              // the serving goroutine is to carry it out after Ready
	due                   // a goroutine is about to carry it out
	underway              // a goroutine is in conn.Write
	finished              // the next Write reports it
)

func newOverlapped(p *Portable) transport { return &overlapped{Portable: p, resumes: resumes(p.conn)} }

// resumes reports whether Write may be called again after a timeout. Crypto/tls does not
// allow that. Of a connection that is not known, nothing is expected.
func resumes(conn net.Conn) bool {
	if _, ok := conn.(*tls.Conn); ok {
		return false
	}
	switch bare(conn).(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	_, ok := conn.(interface{ SetLinger(sec int) error }) // a wrapped socket, or one in memory
	return ok
}

func (o *overlapped) await() (ev Event, late bool) {
	if len(o.unread) > 0 || o.err != nil {
		return o.arrived(), false
	}
	if o.buffer == nil {
		o.buffer = readBuffers.Get().(*[readSize]byte)
	}
	n, err := o.readConn(o.buffer[:])
	o.unread = o.buffer[:n]
	if late = errors.Is(err, os.ErrDeadlineExceeded); !late {
		o.err = err
	}
	o.waited = late && n == 0
	return o.arrived(), late
}

// readConn is conn.Read. A panic is an error.
func (o *overlapped) readConn(p []byte) (n int, err error) {
	defer catch(&err)
	return o.conn.Read(p)
}

// writeConn is conn.Write. A panic is an error.
func (o *overlapped) writeConn(p []byte) (n int, err error) {
	defer catch(&err)
	return o.conn.Write(p)
}

// arrived returns the event of what was read.
func (o *overlapped) arrived() (ev Event) {
	if len(o.unread) > 0 {
		ev = In
	}
	if o.err != nil {
		ev = In | Hup
	}
	return ev
}

func (o *overlapped) read(p []byte) (n int, drained bool, err error) {
	if len(o.unread) == 0 {
		if v, ok := o.err.(*panicError); ok {
			o.err = errors.New(v.Error())
			v.raise() // once, in Ready, where the handler recovers
		}
		return 0, o.err == nil, o.err
	}
	n = copy(p, o.unread)
	o.unread = o.unread[n:]
	return n, o.drained(), nil
}

func (o *overlapped) drained() bool { return len(o.unread) == 0 && o.err == nil }

func (o *overlapped) look(p []byte) (n int, drained bool, err error) {
	if !o.drained() {
		return o.read(p)
	}
	if o.waited {
		// What arrives in memory ends that wait. On a socket the interrupt may have come
		// first, as after the process was stopped.
		o.waited = false
		if !netconn.Unread(bare(o.conn)) {
			return 0, true, nil
		}
	}
	n, err = o.lookInside(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		o.err = err
		if n == 0 {
			return 0, false, err
		}
	}
	return n, n == 0, nil
}

// lookInside is a Read that does not wait for long. On a busy machine the deadline may be over before
// Read looks, and then it finds nothing: so it looks again if it was late.
func (o *overlapped) lookInside(p []byte) (n int, err error) {
	for range maxLooks {
		began := time.Now()
		o.mu.Lock() // or a Wake of before could still set its deadline
		o.conn.SetReadDeadline(began.Add(lookTime))
		o.mu.Unlock()
		o.late = true
		n, err = o.conn.Read(p) // may panic: this is in Ready
		wasLate := time.Since(began) > 2*lookTime
		if n > 0 || !wasLate || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return n, err
}

func (o *overlapped) discard(limit int) (n int, drained bool) {
	n = min(limit, len(o.unread))
	o.unread = o.unread[n:]
	return n, o.drained()
}

func (o *overlapped) readErr() error { return o.err }

func (o *overlapped) tellsBreak() bool { return false }

func (o *overlapped) awaitBreak() (ev Event, late bool) { return 0, false }

// parked gives the buffer back if nothing is in it.
func (o *overlapped) parked() {
	if len(o.unread) == 0 {
		o.dropBuffer()
	}
}

func (o *overlapped) dropBuffer() {
	if o.buffer != nil {
		readBuffers.Put(o.buffer)
		o.buffer, o.unread = nil, nil
	}
}

func (o *overlapped) write(parts [3][]byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.stage {
	case finished:
		n, err = o.written, o.outErr
		o.clear()
		if err != nil {
			return n, err
		}
	case idle:
	default:
		return 0, nil
	}
	o.begin(parts, n)
	return n, nil
}

// begin, under mu, begins to write parts without their first bytes.
func (o *overlapped) begin(parts [3][]byte, skip int) {
	left := len(parts[0]) + len(parts[1]) + len(parts[2]) - skip
	if left <= 0 {
		return
	}
	if left <= smallWrite {
		o.out = smallBuffers.Get().(*[smallWrite]byte)[:0]
	} else {
		o.out = writeBuffers.Get().(*[writeSize]byte)[:0]
	}
	for _, part := range parts {
		skipped := min(skip, len(part))
		skip -= skipped
		part = part[skipped:]
		o.out = append(o.out, part[:min(len(part), cap(o.out)-len(o.out))]...)
	}
	o.stage = begun
}

// clear, under mu, forgets the current write.
func (o *overlapped) clear() {
	switch cap(o.out) {
	case smallWrite:
		smallBuffers.Put((*[smallWrite]byte)(o.out[:smallWrite]))
	case writeSize:
		writeBuffers.Put((*[writeSize]byte)(o.out[:writeSize]))
	}
	o.stage, o.out, o.written, o.outErr = idle, nil, 0, nil
}

func (o *overlapped) watchOut(returning bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.stage {
	case begun, deferred:
		if returning {
			o.stage = deferred
			return
		}
		o.stage = due
	case finished:
		o.waiters = true
	default:
		return
	}
	if !o.writing && o.use() {
		o.writing = true
		go func() {
			defer o.release()
			o.carry(0)
		}()
	}
}

// returned carries out what the serving goroutine has deferred to the end of Ready.
func (o *overlapped) returned() {
	o.mu.Lock()
	mine := o.stage == deferred && !o.gone()
	if mine {
		o.stage = due
		mine = !o.writing
		o.writing = true
	}
	o.mu.Unlock()
	if mine {
		o.carry(writesInTurn)
	}
}

// carry carries out the writes that are due, and those that become due when their end
// is reported. After limit of them another goroutine goes on; zero is no limit. It ends
// with writing reset.
func (o *overlapped) carry(limit int) {
	for n := 1; o.carryOne(); n++ {
		if n == limit {
			o.mu.Lock()
			more := o.use()
			o.mu.Unlock()
			if more {
				go func() {
					defer o.release()
					o.carry(0)
				}()
			}
			return
		}
	}
}

// carryOne carries out one write, and calls Writable. It reports false, with writing
// reset, when there is nothing to do.
func (o *overlapped) carryOne() bool {
	o.mu.Lock()
	switch {
	case o.gone():
		o.clear()
		o.mu.Unlock()
		return false
	case o.stage == deferred: // by Writable in this goroutine, or Ready after it
		o.stage = due
		fallthrough
	case o.stage == due:
		o.stage = underway
		for o.stage == underway && !o.gone() {
			o.writeOut()
		}
	case o.stage == finished && o.waiters:
	default:
		o.writing = false
		o.mu.Unlock()
		return false
	}
	o.waiters = false
	gone := o.gone()
	o.mu.Unlock()
	if !gone {
		o.handler.Writable()
	}
	return true
}

// writeOut, under mu, calls conn.Write with what is left, without mu. The write goes on
// after a timeout that is Unsent's, unless a part of it was written that the next
// Write can report.
func (o *overlapped) writeOut() {
	left := o.out[o.written:]
	o.inWrite = true
	o.mu.Unlock()
	n, err := o.writeConn(left)
	o.mu.Lock()
	o.leaveWrite()
	o.written += n
	late := o.resumes && errors.Is(err, os.ErrDeadlineExceeded)
	if (late || o.poked) && !o.gone() {
		o.poked = false
		o.conn.SetWriteDeadline(time.Time{})
	}
	switch {
	case !late:
		o.stage, o.outErr = finished, err
	case o.written > 0:
		o.stage = finished
	}
}

// unsent is what is left of the current write, and what the socket beneath has not
// delivered. It has a write under way return, so that the next call knows more.
func (o *overlapped) unsent() int {
	o.mu.Lock()
	if o.stage == underway && o.resumes && !o.poked && !o.gone() {
		o.poked = true
		o.conn.SetWriteDeadline(past)
	}
	left := len(o.out) - o.written
	o.mu.Unlock()
	return left + netconn.Unacknowledged(bare(o.conn))
}

// interrupt has a write under way return, where that does not break the connection.
func (o *overlapped) interrupt() {
	if o.resumes {
		o.conn.SetWriteDeadline(past)
	}
}

// finish carries out the current write, unless another goroutine does.
func (o *overlapped) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.stage {
	case begun, deferred, due:
		o.conn.SetWriteDeadline(time.Now().Add(finishTime))
		o.stage = underway
		o.writeOut()
		o.stage = finished
	case underway:
		o.conn.SetWriteDeadline(time.Now().Add(finishTime))
		unwritten := make(chan struct{})
		o.unwritten = unwritten
		o.mu.Unlock()
		<-unwritten
		o.mu.Lock()
	}
}

func (o *overlapped) leave() (rest []byte) {
	if len(o.unread) > 0 {
		rest = append(rest, o.unread...)
	}
	o.dropBuffer()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.inWrite {
		o.clear()
	}
	return rest
}
