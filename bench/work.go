//go:build linux

package main

import (
	"bytes"
	"time"
)

// work is what a server does with its input.
type work string

const (
	echoing work = "echo"     // sends each line back
	naps    work = "naps"     // sleeps napTime before each line
	fewNaps work = "few-naps" // the same for every napEvery-th line of a connection
	winks   work = "winks"    // sleeps winkTime before each line
	obeying work = "obey"     // sleeps as long as a line says, such as "sleep 10s"
	framing work = "frames"   // sends each frame back: its length in headSize bytes, and that many bytes

	// publishing and sending are the works of a server that obeys publishCmd: the line goes to
	// all clients in a room at once, or to the key of each client.
	publishing work = "publish"
	sending    work = "send"

	// gathering is the work of one that obeys gatherCmd.
	gathering work = "gather"

	// relaying is the work of a proxy: it relays each client to the upstream, which is the
	// load process itself, and back.
	relaying work = "relay"
)

const (
	napTime  = 5 * time.Millisecond
	winkTime = time.Millisecond
	napEvery = 100
	headSize = 4
	maxFrame = 2 << 20
)

// sleepCmd begins a line of the work obeying.
var sleepCmd = []byte("sleep ")

// sleeps reports whether the work is more than sending each line back.
func (w work) sleeps() bool {
	return w == naps || w == fewNaps || w == winks || w == obeying
}

// hasMembers reports whether the load of the work is an audience.
func (w work) hasMembers() bool { return w == publishing || w == sending || w == gathering }

// pause sleeps as the work demands. seen counts the lines of the connection, including this
// one, so that it is deterministic which of them sleep.
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
			length, _ := time.ParseDuration(string(bytes.TrimSpace(text))) // zero if it is invalid
			time.Sleep(length)
		}
	}
}
