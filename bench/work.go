//go:build linux

package main

import (
	"bytes"
	"time"
)

// work is what a server does with what it receives.
type work string

const (
	echoing work = "echo"     // sends each line back
	naps    work = "naps"     // sleeps napTime before each line
	fewNaps work = "few-naps" // the same, for one line in napEvery of a connection
	winks   work = "winks"    // sleeps winkTime before each line
	obeying work = "obey"     // sleeps as long as a line says, such as "sleep 10s"
	framing work = "frames"   // sends each frame back: its length in headSize bytes, and so many more

	// relaying is what a proxy does: it takes each client to the upstream, which is
	// the load process itself, and back.
	relaying work = "relay"
)

const (
	napTime  = 5 * time.Millisecond
	winkTime = time.Millisecond
	napEvery = 100
	headSize = 4
	maxFrame = 2 << 20
)

// sleepCmd begins a line to obey.
var sleepCmd = []byte("sleep ")

// sleeps tells whether there is more to do for a line than to send it back.
func (w work) sleeps() bool { return w != echoing && w != framing }

// pause does that. seen counts the lines of the connection, this one included,
// so that it is settled which of them sleep.
func (w work) pause(line []byte, seen int) {
	switch w {
	case naps:
		time.Sleep(napTime)
	case winks:
		time.Sleep(winkTime)
	case fewNaps:
		if seen%napEvery == 0 {
			time.Sleep(napTime)
		}
	case obeying:
		if text, ok := bytes.CutPrefix(line, sleepCmd); ok {
			length, _ := time.ParseDuration(string(bytes.TrimSpace(text))) // zero if it is none
			time.Sleep(length)
		}
	}
}
