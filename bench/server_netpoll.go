//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// serveNetpoll is line echo on cloudwego/netpoll. Its guide recommends a plain goroutine per
// request over the default pool if handlers need no deep stack; here that saves a seventh of
// the CPU time. One poller is its default for so few cores.
func serveNetpoll(ctx context.Context, ln net.Listener, _ work, _ *tls.Config) error {
	err := netpoll.Configure(netpoll.Config{
		Runner:       func(_ context.Context, f func()) { go f() },
		LoggerOutput: io.Discard, // clients reset their connections here
	})
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(netpollEcho)
	if err != nil {
		return err
	}
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() {
		bound, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		stopped <- loop.Shutdown(bound)
	})()
	if err := loop.Serve(ln); err != nil {
		return err
	}
	return <-stopped
}

// netpollEcho answers all lines that have arrived with one flush. It finds them in the result
// of Peek, without a copy. Reader.Until for each line takes a seventh more CPU time when lines
// are pipelined, and an incomplete line would delay the replies to the lines before it.
func netpollEcho(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	for r.Len() > 0 {
		arrived, err := r.Peek(r.Len())
		if err != nil {
			return err
		}
		whole := bytes.LastIndexByte(arrived, '\n') + 1
		if whole == 0 {
			return netpollWait(r, w)
		}
		for line := range bytes.Lines(arrived[:whole]) {
			if _, err := w.WriteBinary(line); err != nil {
				return err
			}
		}
		if err := r.Skip(whole); err != nil {
			return err
		}
	}
	return netpollFlush(r, w)
}

// netpollWait sends the replies that are ready and waits for the rest of an incomplete line.
func netpollWait(r netpoll.Reader, w netpoll.Writer) error {
	if err := netpollFlush(r, w); err != nil {
		return err
	}
	line, err := r.Until('\n')
	if err != nil {
		return err
	}
	if _, err := w.WriteBinary(line); err != nil {
		return err
	}
	return netpollFlush(r, w)
}

// netpollFlush releases the input only after the write: WriteBinary refers to long lines
// instead of copying them.
func netpollFlush(r netpoll.Reader, w netpoll.Writer) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}
