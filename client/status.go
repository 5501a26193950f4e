package client

import (
	"net"
	"time"
)

// State says what a Conn is doing.
type State string

// The states.
const (
	StateConnecting State = "connecting" // a connection is being made
	StateConnected  State = "connected"  // there is a connection
	StateWaiting    State = "waiting"    // until the next attempt
	StateClosed     State = "closed"     // for good
)

// Status is what is known of a Conn at one moment.
type Status struct {
	State State
	Since time.Time // when the state began

	// Err is why the last connection has ended, or why the last attempt has failed; nil if there
	// was no failure yet. It stays when the Conn is connected again.
	Err error

	// Failed is how many attempts have failed since the last connection. Next is when the next one
	// begins, in StateWaiting.
	Failed int
	Next   time.Time

	LocalAddr, RemoteAddr net.Addr // of the connection; nil while there is none

	InFlight int // requests under way, also those that wait for a connection
	Queued   int // frames that wait for a connection

	Counts
}

// Counts are what a Conn, or all Conns of a Dialer, have done. They never go back.
type Counts struct {
	Conns    uint64 // that were opened
	Connects uint64 // attempts that have succeeded
	Failures uint64 // attempts that have failed
	Losses   uint64 // connections that were lost

	Requests uint64 // that were begun
	Answers  uint64 // that have come in time
	Late     uint64 // answers to requests that were given up
	Lost     uint64 // requests that have ended with ErrLost
	Sent     uint64 // frames of Send that were accepted
	Dropped  uint64 // frames of Send that have waited when the Conn was closed
	Pushes   uint64 // frames that are no answers
}

// add adds the counts of other.
func (c *Counts) add(other Counts) {
	c.Conns += other.Conns
	c.Connects += other.Connects
	c.Failures += other.Failures
	c.Losses += other.Losses
	c.Requests += other.Requests
	c.Answers += other.Answers
	c.Late += other.Late
	c.Lost += other.Lost
	c.Sent += other.Sent
	c.Dropped += other.Dropped
	c.Pushes += other.Pushes
}

// Status returns what is known of the Conn now.
func (c *Conn) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		State: c.state, Since: c.since, Err: c.err, Failed: c.failed,
		InFlight: len(c.requests) - c.gaveUp, Queued: c.queue.len(), Counts: c.counts,
	}
	if c.state == StateWaiting {
		s.Next = c.next
	}
	if c.link != nil {
		s.LocalAddr, s.RemoteAddr = c.link.local, c.link.remote
	}
	return s
}

// Totals are those of a Dialer.
type Totals struct {
	Open      int // Conns that are not closed
	Connected int // Conns that have a connection
	InFlight  int // requests under way
	Queued    int // frames that wait for a connection
	Counts        // also of Conns that are closed
}

// Totals adds up the Conns of the Dialer, as they are at this moment.
func (d *Dialer) Totals() Totals {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := Totals{Open: len(d.conns), Counts: d.finished}
	for c := range d.conns {
		s := c.Status()
		if s.State == StateConnected {
			t.Connected++
		}
		t.InFlight += s.InFlight
		t.Queued += s.Queued
		t.Counts.add(s.Counts)
	}
	return t
}
