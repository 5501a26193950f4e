//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
)

// serveBufio is the server of most tutorials: a goroutine per connection, a
// bufio.Reader, and one Write for each line.
func serveBufio(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()

	// The clients are closed by the load, which ends before its server.
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		clients.Go(func() { echoLines(conn) })
	}
}

// echoLines takes ReadSlice rather than ReadBytes, which would allocate every
// line: the naive server at its best, with lines of up to 4 KiB.
func echoLines(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if _, err := conn.Write(line); err != nil {
			return
		}
	}
}
