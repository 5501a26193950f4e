//go:build linux

package main

import "time"

// footprint is the memory of a server before and after many idle clients have connected.
type footprint struct {
	Conns  int   `json:"connections"`
	Before int64 `json:"rss_before"`
	After  int64 `json:"rss_after"`

	FilesBefore int `json:"files_before"`
	FilesAfter  int `json:"files_after"`
}

func (f footprint) perConn() float64 {
	return float64(f.After-f.Before) / float64(f.Conns)
}

// filesPerConn leaves out one client: the first is still connected when the files before are
// counted, and so are the files that its server opens once.
func (f footprint) filesPerConn() float64 {
	return float64(f.FilesAfter-f.FilesBefore) / float64(max(f.Conns-1, 1))
}

// measureIdle connects the clients of t one after the other, has each send one line, and
// measures the server's memory after it has settled.
func measureIdle(t task) (footprint, error) {
	// What the server allocates once, for its first client, does not count.
	first := t
	first.Conns = 1
	f, err := withIdleClients(first)
	if err != nil {
		return footprint{}, err
	}
	before, files := f.After, f.FilesAfter
	f, err = withIdleClients(t)
	f.Before, f.FilesBefore = before, files
	return f, err
}

func withIdleClients(t task) (footprint, error) {
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
	}
	time.Sleep(t.Warmup)
	rss, err := residentBytes(t.Server)
	if err != nil {
		return footprint{}, err
	}
	files, err := openFiles(t.Server)
	return footprint{Conns: t.Conns, After: rss, FilesAfter: files}, err
}
