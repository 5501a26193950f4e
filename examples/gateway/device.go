package main

import (
	"sync"
	"time"

	"wireline/examples/gateway/protocol"
	"wireline/handler"
)

// device is what the gateway knows about a connection: the Value of its client.
type device struct {
	mu    sync.Mutex
	id    string // empty before the login
	since time.Time
	last  *measured // nil before the first one
}

// measured is a measurement that has arrived.
type measured struct {
	protocol.Measurement
	At time.Time `json:"at"`
}

// deviceOf returns the device of a client. Each has one from the start, see service.open.
func deviceOf(c *handler.Client) *device { return c.Value.(*device) }

// loggedIn notes the login.
func (d *device) loggedIn(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id, d.since = id, time.Now()
}

// ID returns the id; empty before the login.
func (d *device) ID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id
}

// measured notes a measurement.
func (d *device) measured(m protocol.Measurement) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = &measured{m, time.Now()}
}

// deviceInfo is a device in the answer to GET /devices.
type deviceInfo struct {
	ID    string    `json:"id"`
	Peer  string    `json:"peer"`
	Since time.Time `json:"since"` // of the login
	Last  *measured `json:"last"`  // measurement; null before the first one
}

// infoOf returns what is known about the device of c.
func infoOf(c *handler.Client) deviceInfo {
	d := deviceOf(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	return deviceInfo{ID: d.id, Peer: c.RemoteAddr().String(), Since: d.since, Last: d.last}
}
