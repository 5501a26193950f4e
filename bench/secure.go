//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// secure is TLS on the nonblocking socket of a client. crypto/tls waits inside of Read and
// Write, and the load has one thread for all clients, so a read that would have to wait fails
// with EAGAIN: crypto/tls goes on after such an error, since it is a net.Error that is
// temporary. A write never waits: the records are kept until the socket takes them.
type secure struct {
	conn *tls.Conn
	wire wire
}

// plainTLS is the configuration of clients that do not resume sessions.
var plainTLS = clientTLS()

// handshake makes the handshake on fd, and waits for it. bound is for each step.
func handshake(fd int, bound time.Duration) (*secure, error) {
	s := &secure{wire: wire{fd: fd, wait: bound}}
	s.conn = tls.Client(&s.wire, plainTLS)
	if err := s.conn.Handshake(); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if err := s.wire.flush(); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	s.wire.wait = 0
	return s, nil
}

// read decrypts one record. Like the system call, it returns zero at the end.
func (s *secure) read(p []byte) (int, error) {
	n, err := s.conn.Read(p)
	if err == io.EOF {
		return 0, nil
	}
	return n, err
}

// encrypt makes p into records, which flush sends.
func (s *secure) encrypt(p []byte) error {
	if _, err := s.conn.Write(p); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	return nil
}

func (s *secure) unsent() bool { return s.wire.unsent() }
func (s *secure) flush() error { return s.wire.flush() }

// wire is the socket that crypto/tls sees.
type wire struct {
	net.Conn // nil; for the methods that crypto/tls does not call

	fd   int
	wait time.Duration // for input, while the handshake lasts; then zero
	out  []byte        // records
	sent int           // of them
}

// Read returns EAGAIN if there is nothing to read, except in the handshake.
func (w *wire) Read(p []byte) (int, error) {
	n, err := read(w.fd, p)
	if err == unix.EAGAIN && w.wait > 0 {
		if err := w.await(); err != nil {
			return 0, err
		}
		n, err = read(w.fd, p)
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// await sends what is to be sent, and waits for input.
func (w *wire) await() error {
	if err := w.flush(); err != nil {
		return err
	}
	ready := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(ready, int(w.wait.Milliseconds()))
		if err == unix.EINTR { // a signal of the Go runtime's
			continue
		}
		if err == nil && n == 0 {
			err = fmt.Errorf("no answer for %v", w.wait)
		}
		return err
	}
}

// Write keeps p for flush.
func (w *wire) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

func (w *wire) unsent() bool { return w.sent < len(w.out) }

// flush writes as much as the socket takes.
func (w *wire) flush() error {
	for w.unsent() {
		n, err := write(w.fd, w.out[w.sent:])
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
		w.sent += n
	}
	w.out, w.sent = w.out[:0], 0
	return nil
}
