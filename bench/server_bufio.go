//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// serveBufio is the server of most tutorials: a goroutine per connection, a bufio.Reader, and
// one Write per line or frame.
func serveBufio(ctx context.Context, ln net.Listener, w work, cfg *tls.Config) error {
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	serve := func(conn net.Conn) { echoLines(conn, w) }
	switch {
	case w == framing:
		serve = echoFrames
	case w.hasMembers():
		room := newChatRoom()
		serve = func(conn net.Conn) { room.serve(conn, w) }
	}
	// The load closes the clients, and ends before its server.
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
		clients.Go(func() {
			defer conn.Close()
			serve(conn)
		})
	}
}

// echoLines uses ReadSlice rather than ReadBytes, which would allocate each line. That is the
// fastest form of this server, with lines of up to 4 KiB.
func echoLines(conn net.Conn, w work) {
	r := bufio.NewReader(conn)
	for seen := 1; ; seen++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if w.sleeps() {
			w.pause(line, seen)
		}
		if _, err := conn.Write(line); err != nil {
			return
		}
	}
}

// echoFrames keeps a buffer that grows to the longest frame. Head and frame are sent in one
// Write. A frame that is longer than the bufio.Reader's buffer is read directly into this one.
func echoFrames(conn net.Conn) {
	r := bufio.NewReader(conn)
	buf := make([]byte, headSize)
	for {
		if _, err := io.ReadFull(r, buf[:headSize]); err != nil {
			return
		}
		size, err := frameSize(buf)
		if err != nil {
			return
		}
		buf = slices.Grow(buf[:headSize], size)[:headSize+size]
		if _, err := io.ReadFull(r, buf[headSize:]); err != nil {
			return
		}
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}

// frameSize reads a frame's head.
func frameSize(head []byte) (int, error) {
	size := binary.BigEndian.Uint32(head)
	if size > maxFrame {
		return 0, fmt.Errorf("frame of %d bytes, more than %d", size, maxFrame)
	}
	return int(size), nil
}
