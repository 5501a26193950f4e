package main

import "wireline/hub"

// recorder is a bus that puts what users of other processes say into the histories of this one.
type recorder struct {
	hub.Bus
	rooms *rooms
}

// Start implements hub.Bus.
func (r recorder) Start(local hub.Local) error { return r.Bus.Start(recordingLocal{local, r.rooms}) }

// recordingLocal is the hub as the bus of a recorder sees it.
type recordingLocal struct {
	hub.Local
	rooms *rooms
}

// Deliver implements hub.Local.
func (l recordingLocal) Deliver(name string, line []byte) {
	if r := l.rooms.find(name); r != nil { // otherwise nobody here is in it
		r.hear(string(line), func() { l.Local.Deliver(name, line) })
	}
}
