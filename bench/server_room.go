//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync"
)

// chatRoom has the works publishing and sending as most tutorials have them: a map, a mutex, and
// a Write for one client after the other.
type chatRoom struct {
	mu      sync.Mutex
	members map[string]net.Conn
	keys    []string
}

func newChatRoom() *chatRoom {
	return &chatRoom{members: make(map[string]net.Conn), keys: memberKeys(mostMembers)}
}

// serve serves the lines of a client, and sends them back.
func (r *chatRoom) serve(conn net.Conn, w work) {
	var key string
	defer func() { r.leave(key, conn) }()
	for in := bufio.NewReader(conn); ; {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case !bytes.HasPrefix(line, publishCmd):
			if key, err = keyOf(line); err != nil {
				return
			}
			r.enter(key, conn)
		case w == sending:
			err = r.sendToEach(line)
		default:
			err = r.publish(line)
		}
		if err != nil {
			return
		}
		if _, err := conn.Write(line); err != nil {
			return
		}
	}
}

func (r *chatRoom) enter(key string, conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[key] = conn
}

func (r *chatRoom) leave(key string, conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[key] == conn {
		delete(r.members, key)
	}
}

// publish waits for a client that does not read, and everybody waits with it. A client that has
// ended leaves by itself.
func (r *chatRoom) publish(line []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.members {
		_, _ = conn.Write(line)
	}
	return nil
}

// sendToEach sends to one key after the other.
func (r *chatRoom) sendToEach(line []byte) error {
	r.mu.Lock()
	count := len(r.members)
	r.mu.Unlock()
	for _, key := range r.keys[:min(count, len(r.keys))] {
		r.mu.Lock()
		conn := r.members[key]
		r.mu.Unlock()
		if conn == nil {
			return errors.New("unknown key")
		}
		if _, err := conn.Write(line); err != nil {
			return err
		}
	}
	return nil
}
