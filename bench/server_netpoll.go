//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// serveNetpoll is line echo on cloudwego/netpoll. Its guide advises a plain
// goroutine per request over the default pool where handlers need no deep
// stack; here that saves a seventh of the CPU. Its one poller is the default
// for so few cores.
func serveNetpoll(ctx context.Context, ln net.Listener, _ work) error {
	err := netpoll.Configure(netpoll.Config{
		Runner:       func(_ context.Context, f func()) { go f() },
		LoggerOutput: io.Discard, // that clients reset their connections is no news here
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

// netpollEcho answers all lines that have arrived with one flush. It looks for
// them in what Peek returns, without a copy. Reader.Until for each line takes a
// seventh more CPU when lines are pipelined, and lets a line that has only
// begun hold back the replies to those before it.
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

// netpollWait sends what is ready and waits for the rest of a begun line.
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

// netpollFlush releases what was read only when it is written: WriteBinary
// refers to long lines instead of copying them.
func netpollFlush(r netpoll.Reader, w netpoll.Writer) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}
