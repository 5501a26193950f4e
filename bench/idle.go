//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// footprint is the memory of a server before and after many idle clients have connected.
type footprint struct {
	Conns  int   `json:"connections"`
	Before int64 `json:"rss_before"`
	After  int64 `json:"rss_after"`

	HeapBefore int64 `json:"heap_before,omitempty"`
	HeapAfter  int64 `json:"heap_after,omitempty"`

	FilesBefore int `json:"files_before"`
	FilesAfter  int `json:"files_after"`
}

func (f footprint) perConn() float64 {
	return float64(f.After-f.Before) / float64(f.Conns)
}

// heapPerConn is zero if the server was not asked.
func (f footprint) heapPerConn() float64 {
	return float64(f.HeapAfter-f.HeapBefore) / float64(f.Conns)
}

// filesPerConn leaves out one client: the first is still connected when the files before are
// counted, and so are the files that its server opens once.
func (f footprint) filesPerConn() float64 {
	return float64(f.FilesAfter-f.FilesBefore) / float64(max(f.Conns-1, 1))
}

// measureIdle connects the clients of t one after the other, has each send one line or frame,
// and measures the server's memory after it has settled.
func measureIdle(t task) (footprint, error) {
	// What the server allocates once, for its first client, does not count.
	var output *os.File
	if t.Heap {
		output = os.NewFile(heapFD, "the server's output")
		defer output.Close()
	}
	first := t
	first.Conns = 1
	f, err := withIdleClients(first, output)
	if err != nil {
		return footprint{}, err
	}
	before := f
	f, err = withIdleClients(t, output)
	f.Before, f.HeapBefore, f.FilesBefore = before.After, before.HeapAfter, before.FilesAfter
	return f, err
}

// withIdleClients measures the server after the clients of t have connected.
func withIdleClients(t task, output *os.File) (footprint, error) {
	g, err := newGenerator(t)
	if err != nil {
		return footprint{}, err
	}
	defer g.close()
	g.closing = true // one burst per client
	for range t.Conns {
		if err := g.add(); err != nil {
			return footprint{}, err
		}
		if err := g.drain(); err != nil {
			return footprint{}, err
		}
		g.clients[len(g.clients)-1].forget()
	}
	return footprintNow(t, output)
}

// footprintNow lets the server settle, and measures it. It asks for the heap last, and only if
// output is not nil: a collection would change the other figures.
func footprintNow(t task, output *os.File) (footprint, error) {
	time.Sleep(t.Warmup)
	rss, err := residentBytes(t.Server)
	if err != nil {
		return footprint{}, err
	}
	files, err := openFiles(t.Server)
	if err != nil {
		return footprint{}, err
	}
	f := footprint{Conns: t.Conns, After: rss, FilesAfter: files}
	if output != nil {
		f.HeapAfter, err = askHeap(t.Server, output)
	}
	return f, err
}

// forget frees all but the socket of a client that will not send again. Thousands of clients
// over TLS take more memory than their server.
func (c *client) forget() {
	c.secure, c.bursts = nil, [2][]byte{}
}

func (c *client) forgotten() bool { return c.bursts[0] == nil }

// discard reads what arrives for a client that was forgotten: over TLS, a server may send session
// tickets or KeyUpdates after the reply. It must not close the connection.
func (c *client) discard(buf []byte) error {
	for {
		n, err := read(c.fd, buf)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return errClosed
		}
	}
}

// heapFD is the server's standard output, which a load inherits that asks for its heap.
const heapFD = 3

// askHeap makes a server of this program collect its garbage, and returns how many bytes are
// left on its heap.
func askHeap(server int, output io.Reader) (int64, error) {
	if err := unix.Kill(server, unix.SIGUSR1); err != nil {
		return 0, fmt.Errorf("ask for the heap: %w", err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("ask for the heap: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}
