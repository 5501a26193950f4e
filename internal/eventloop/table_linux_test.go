package eventloop

import (
	"sync"
	"testing"
	"unsafe"
)

func TestTableGrows(t *testing.T) {
	var table table
	fds := []int{0, 1, 1<<chunkBits - 1, 1 << chunkBits, 5 << chunkBits, TooHigh - 1}
	for _, fd := range fds {
		if s := table.get(fd); s != nil {
			t.Errorf("an empty table has %v for %d", s, fd)
		}
	}
	sockets := make(map[int]*Socket)
	for _, fd := range fds {
		sockets[fd] = numbered(fd)
		if !table.set(fd, sockets[fd]) {
			t.Errorf("no room for %d", fd)
		}
	}
	for _, fd := range fds {
		if s := table.get(fd); s != sockets[fd] {
			t.Errorf("%d is %v", fd, s)
		}
		table.set(fd, nil)
		if s := table.get(fd); s != nil {
			t.Errorf("%d is %v after it was taken out", fd, s)
		}
	}
	for _, fd := range []int{-1, TooHigh, 1 << 30} {
		if table.set(fd, new(Socket)) || table.get(fd) != nil {
			t.Errorf("there is room for %d", fd)
		}
	}
}

// Goroutines that need the same chunk first must not each make one.
func TestTableGrowsForManyAtOnce(t *testing.T) {
	var table table
	const n = 64
	var ready, all sync.WaitGroup
	ready.Add(n)
	for fd := range n {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			for chunk := range 50 {
				table.set(chunk<<chunkBits+fd, numbered(fd))
			}
		})
	}
	all.Wait()
	for chunk := range 50 {
		for fd := range n {
			if s := table.get(chunk<<chunkBits + fd); s == nil || s.FD() != fd {
				t.Fatalf("chunk %d has %v for %d", chunk, s, fd)
			}
		}
	}
}

// numbered returns a Socket that has only a file descriptor.
func numbered(fd int) *Socket {
	s := new(Socket)
	s.fd.Store(int32(fd))
	return s
}

// An idle client costs a Socket: it has not grown.
func TestSocketIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Socket{}); size > 64 {
		t.Errorf("a Socket has %d bytes, want 64", size)
	}
}
