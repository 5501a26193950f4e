//go:build linux

package main

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	bulkWrite = 256 << 10 // what a sender writes at once
	bulkRead  = 1 << 20

	// bulkLeast is more than the socket buffers hold, so that so much data is relayed during
	// the measurement.
	bulkLeast = 32 << 20
)

// bulk is both ends of the streams through a proxy, the senders and the receivers, on one
// thread that polls. The receivers let the kernel discard the data (MSG_TRUNC): copying and
// checking it would take longer than relaying it, and the proxy would wait for the load. So a
// client over TLS counts records, which are a little more than the data in them.
type bulk struct {
	task
	epoll  int
	files  map[int32]bool // true for a client
	secure map[int32]*secure
	events []unix.EpollEvent
	buf    []byte
	moved  int64
	last   time.Time // when data moved last
}

// The values of an event's Pad, besides ofListener.
const (
	ofSender = ofUpstream + 1 + iota
	ofReceiver
)

// measureBulk lets the streams run for the warmup, then measures.
func measureBulk(t task) (m measurement, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return m, err
	}
	b := &bulk{
		task:   t,
		epoll:  epoll,
		files:  make(map[int32]bool),
		secure: make(map[int32]*secure),
		events: make([]unix.EpollEvent, 64),
		buf:    make([]byte, bulkWrite),
	}
	defer b.close()
	if err := b.connect(); err != nil {
		return m, err
	}
	if err := b.run(b.Warmup); err != nil {
		return m, err
	}
	warmup := float64(b.moved) / 1e6 / max(b.Warmup.Seconds(), 1e-9)
	before, err := readClocks(b.Server, b.Forks, b.Cores)
	if err != nil {
		return m, err
	}
	if err := b.run(b.Measure); err != nil {
		return m, err
	}
	after, err := readClocks(b.Server, b.Forks, b.Cores)
	if err != nil {
		return m, err
	}
	m = after.since(before, 0)
	m.Bytes, m.Requests, m.Warmup = b.moved, b.moved/1e6, warmup
	return m, nil
}

func (b *bulk) connect() error {
	if err := watchUpstream(b.epoll); err != nil {
		return err
	}
	for range b.Conns {
		fd, err := connect(b.Address)
		if err != nil {
			return fmt.Errorf("connect to %s: %w", b.Address, err)
		}
		if err := b.add(fd, true, b.Bulk == up); err != nil {
			return err
		}
		if b.TLS {
			if b.secure[int32(fd)], err = handshake(fd, b.Stall); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bulk) add(fd int, client, sends bool) error {
	b.files[int32(fd)] = client
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd), Pad: ofReceiver}
	if sends {
		event.Events, event.Pad = unix.EPOLLOUT, ofSender
	}
	return unix.EpollCtl(b.epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

func (b *bulk) close() {
	for fd := range b.files {
		_ = unix.Close(int(fd))
	}
	_ = unix.Close(b.epoll)
}

// run runs for that time, and until bulkLeast bytes have moved: a proxy may lose its core for
// longer than a short measurement.
func (b *bulk) run(long time.Duration) error {
	b.last, b.moved = time.Now(), 0
	for end := b.last.Add(long); ; {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(b.epoll),
			uintptr(unsafe.Pointer(&b.events[0])), uintptr(len(b.events)), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("epoll_pwait: %w", errno)
		}
		if errno != 0 {
			n = 0
		}
		before := b.moved
		for _, event := range b.events[:n] {
			if err := b.handle(event); err != nil {
				return err
			}
		}
		switch now := time.Now(); {
		case b.moved > before:
			b.last = now
			if now.After(end) && b.moved >= bulkLeast {
				return nil
			}
		case now.Sub(b.last) > b.Stall:
			return fmt.Errorf("nothing arrived for %v", b.Stall)
		}
	}
}

func (b *bulk) handle(event unix.EpollEvent) (err error) {
	switch event.Pad {
	case ofListener:
		fd, err := acceptUpstream()
		if fd < 0 {
			return err
		}
		return b.add(fd, false, b.Bulk == down)
	case ofSender:
		err = b.send(event.Fd)
	default:
		var n int
		n, err = discard(int(event.Fd), b.buf)
		b.moved += int64(n)
		if n == 0 && err == nil {
			err = errClosed
		}
	}
	if err == nil || err == unix.EAGAIN {
		return nil
	}
	if b.files[event.Fd] {
		return err
	}
	// A connection of the proxy. Either none of these clients uses it, or its client notices
	// that it has ended.
	delete(b.files, event.Fd)
	return unix.Close(int(event.Fd))
}

// send writes as much as the socket takes, over TLS at most what is encrypted at once.
func (b *bulk) send(fd int32) error {
	s := b.secure[fd]
	if s == nil {
		_, err := write(int(fd), b.buf)
		return err
	}
	if !s.unsent() {
		if err := s.encrypt(b.buf); err != nil {
			return err
		}
	}
	return s.flush()
}

// discard drops the data that has arrived. The kernel does not write to p.
func discard(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), bulkRead,
		unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	return result(n, errno)
}
