//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"time"
)

// load is a way to load a server.
type load struct {
	name   string
	work   work // of the server
	conns  int
	depth  int           // lines in a burst
	frame  int           // bytes of payload, instead of lines
	warmup time.Duration // at least

	// shared lets server and load use both cores. The load then waits for its replies in the
	// kernel, so that it does not keep a core busy.
	shared bool

	// fresh starts the server anew for each measurement, so that it has not adapted to the
	// load.
	fresh bool

	// tls is of a server whose clients speak TLS.
	tls bool

	// churn ends every connection after its first reply.
	churn bool

	// reset ends it with a RST from the client, not a FIN.
	reset bool

	// floods measures a second time, while a flood of short connections over TLS comes in.
	floods bool

	// resumes makes the connections of a churn or a flood over TLS resume sessions.
	resumes bool

	// plain has the clients that are measured speak no TLS, unlike the flood. The server has
	// a listener for them.
	plain bool

	// bulk is the direction of a stream at full speed.
	bulk direction

	// stalls measures a second time, while one more connection makes the server sleep.
	stalls bool

	// rooms is how many rooms the members of an audience enter while memory is measured.
	rooms int

	// minus is the server whose CPU time the table subtracts from that of the others.
	minus string

	// ratios are the figures that its table compares, the main one first.
	ratios []comparison
}

// direction is the direction of a stream through a proxy.
type direction string

const (
	up   direction = "up"   // from the client to the upstream
	down direction = "down" // from the upstream to the client
)

func (l load) main() figure { return l.ratios[0].figure }

var (
	toCAndPeers = []comparison{{cpuFigure, cEpoll}, {cpuFigure, naive}, {cpuFigure, peer}, {cpuFigure, wirelineEcho}}
	ofSharing   = []comparison{{rateFigure, naive}, {rateFigure, peer}, {p50Figure, naive}, {p50Figure, peer}}
	ofSleeping  = []comparison{{rateFigure, naive}, {p99Figure, naive}, {cpuFigure, naive}}
	ofRelaying  = []comparison{{cpuFigure, nginx}, {cpuFigure, haproxy}, {cpuFigure, ioCopy}}
	ofBulk      = []comparison{{cpuPerGBFigure, ioCopy}, {cpuPerGBFigure, haproxy}, {cpuPerGBFigure, nginx}}
	ofTLS       = []comparison{{cpuFigure, naiveTLS}}
	ofFlood     = []comparison{{p99Figure, naiveTLS}, {rateFigure, naiveTLS}, {floodFigure, naiveTLS}}
	ofRelaysTLS = []comparison{{cpuFigure, nginxTLSName}, {cpuFigure, haproxyTLSName}, {cpuFigure, ioCopyTLS}}
	ofBulkTLS   = []comparison{{cpuPerGBFigure, nginxTLSName}, {cpuPerGBFigure, haproxyTLSName}, {cpuPerGBFigure, ioCopyTLS}}
	ofAudience  = []comparison{{cpuFigure, cPublish}, {cpuFigure, naive}}
	ofFrames    = []comparison{{cpuFigure, cCopy}, {cpuFigure, cWhole}, {cpuFigure, naive}}
)

var loads = []load{
	{name: "ping1", work: echoing, conns: 1, depth: 1, ratios: toCAndPeers},
	{name: "ping50", work: echoing, conns: 50, depth: 1, ratios: toCAndPeers},
	{name: "ping1000", work: echoing, conns: 1000, depth: 1, ratios: toCAndPeers},
	{name: "pipe50x64", work: echoing, conns: 50, depth: 64, ratios: toCAndPeers},
	{name: "connect", work: echoing, conns: 50, depth: 1, churn: true, ratios: toCAndPeers},
	{name: "connect-reset", work: echoing, conns: 50, depth: 1, churn: true, reset: true, ratios: toCAndPeers},
	{name: "shared1", work: echoing, conns: 1, depth: 1, shared: true, ratios: ofSharing},
	{name: "shared50", work: echoing, conns: 50, depth: 1, shared: true, ratios: ofSharing},
	{name: "shared1000", work: echoing, conns: 1000, depth: 1, shared: true, ratios: ofSharing},
	{name: "naps", work: naps, conns: 1000, depth: 1, fresh: true, warmup: time.Second, ratios: ofSleeping},
	{name: "few-naps", work: fewNaps, conns: 1000, depth: 1, fresh: true, warmup: time.Second, ratios: ofSleeping},
	{name: "winks", work: winks, conns: 1000, depth: 1, fresh: true, warmup: time.Second, ratios: ofSleeping},
	{name: "stalled", work: obeying, conns: 1000, depth: 1, fresh: true, stalls: true, ratios: []comparison{{cpuFigure, naive}}},
	{name: "frames16k", work: framing, conns: 4, frame: 16 << 10, ratios: ofFrames},
	{name: "frames1m", work: framing, conns: 1, frame: 1 << 20, ratios: ofFrames},
	{name: "broadcast", work: publishing, conns: mostMembers, minus: cPublish, ratios: ofAudience},
	{name: "send", work: sending, conns: mostMembers, minus: cPublish, ratios: ofAudience},
	{name: "tls50", tls: true, work: echoing, conns: 50, depth: 1, ratios: ofTLS},
	{name: "tls1000", tls: true, work: echoing, conns: 1000, depth: 1, ratios: ofTLS},
	{name: "tls-frames16k", tls: true, work: framing, conns: 4, frame: 16 << 10, ratios: ofTLS},
	{name: "tls-connect", tls: true, work: echoing, conns: 50, depth: 1, churn: true, ratios: ofTLS},
	{name: "tls-resume", tls: true, work: echoing, conns: 50, depth: 1, churn: true, resumes: true, ratios: ofTLS},
	{name: "handshakes", tls: true, work: echoing, conns: 1000, depth: 1, floods: true, ratios: ofFlood},
	{name: "handshakes-plain", tls: true, plain: true, work: echoing, conns: 1000, depth: 1, floods: true, ratios: ofFlood},
	{name: "resumptions", tls: true, work: echoing, conns: 1000, depth: 1, floods: true, resumes: true, ratios: ofFlood},
	{name: "resumptions-plain", tls: true, plain: true, work: echoing, conns: 1000, depth: 1, floods: true, resumes: true, ratios: ofFlood},
	{name: "proxy1", work: relaying, conns: 1, depth: 1, ratios: ofRelaying},
	{name: "proxy50", work: relaying, conns: 50, depth: 1, ratios: ofRelaying},
	{name: "proxy1000", work: relaying, conns: 1000, depth: 1, ratios: ofRelaying},
	{name: "proxy-connect", work: relaying, conns: 50, depth: 1, churn: true, ratios: ofRelaying},
	{name: "proxy-up", work: relaying, conns: 4, bulk: up, ratios: ofBulk},
	{name: "proxy-down", work: relaying, conns: 4, bulk: down, ratios: ofBulk},
	{name: "tls-proxy50", tls: true, work: relaying, conns: 50, depth: 1, ratios: ofRelaysTLS},
	{name: "tls-proxy-up", tls: true, work: relaying, conns: 4, bulk: up, ratios: ofBulkTLS},
	{name: "tls-proxy-down", tls: true, work: relaying, conns: 4, bulk: down, ratios: ofBulkTLS},
}

// subcommand is that of the load process.
func (l load) subcommand() string {
	switch {
	case l.bulk != "":
		return cmdBulk
	case l.work.hasMembers():
		return cmdTell
	case l.tls && l.churn:
		return cmdShort
	}
	return cmdLoad
}

// about describes a load in the head of its table.
func (l load) about() string {
	text := fmt.Sprintf("connections: %d", l.conns)
	switch {
	case l.bulk == up:
		text += ", as much as there is room for from the client to the upstream"
	case l.bulk == down:
		text += ", as much as there is room for from the upstream to the client"
	case l.work == publishing:
		text += " in a room, a line is published to all of them"
	case l.work == sending:
		text += ", a line is sent to the key of each"
	case l.frame > 0:
		text += fmt.Sprintf(", frames of %d KiB", l.frame>>10)
	case l.reset:
		text += " at a time, one line on each, then the client resets it"
	case l.churn:
		text += " at a time, one line on each, then the client closes it"
		if l.resumes {
			text += ", with the session of the one before"
		}
	default:
		text += fmt.Sprintf(", lines in flight on each: %d", l.depth)
	}
	switch l.work {
	case naps:
		text += fmt.Sprintf(", the server sleeps %v for every line", napTime)
	case winks:
		text += fmt.Sprintf(", the server sleeps %v for every line", winkTime)
	case fewNaps:
		text += fmt.Sprintf(", the server sleeps %v for one line in %d", napTime, napEvery)
	case obeying:
		text += ", and one more that has the server sleep"
	case relaying:
		text += ", through a proxy"
	}
	if l.tls && !l.plain {
		text += ", over TLS"
	}
	switch {
	case l.floods && l.resumes:
		text += ", beside as many resumed handshakes as the load's core can make"
	case l.floods:
		text += ", beside as many full handshakes as the load's core can make"
	}
	if l.shared {
		text += ", both cores for both"
	}
	return text
}

// task tells a load process what to do.
type task struct {
	Address netip.AddrPort
	Server  int   // its process
	Forks   bool  // it has a process per connection
	Relayed bool  // it is a proxy; the load is its upstream, listening on upstreamFD
	Cores   []int // of server and load; one, if they share it
	Conns   int
	Depth   int
	Frame   int
	TLS     bool          // clients speak TLS
	Heap    bool          // ask the server for its heap, and read the answer from heapFD
	Wait    bool          // wait for events instead of polling
	Churn   bool          // a new connection for each burst
	Reset   bool          // connections end with a RST
	Resume  bool          // a new connection resumes the session of the one before
	Bulk    direction     // of a stream at full speed
	Rooms   int           // that the members of an audience enter
	Sleep   time.Duration // how long the server sleeps for one more client; zero for none

	// FloodAddress is where a flood connects, if one comes in beside the load.
	FloodAddress netip.AddrPort

	Warmup  time.Duration // for idle clients, the time to settle
	Measure time.Duration
	Stall   time.Duration // fail after this time without a reply
}

// measurement is the result of one load process.
type measurement struct {
	Requests int64         `json:"requests"` // lines that were answered or sent to a member, frames, connections, or whole MB of a stream
	Bytes    int64         `json:"bytes"`    // of the requests, in one direction
	Wall     time.Duration `json:"wall_ns"`
	CPU      time.Duration `json:"server_cpu_ns"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
	Foreign  float64       `json:"foreign"` // CPU time of other processes on the two cores, per wall time

	// Warmup is the rate in requests per second before the measurement.
	Warmup float64 `json:"warmup_rate,omitempty"`

	// Handshakes counts the connections of a flood.
	Handshakes int64 `json:"handshakes,omitempty"`

	// Before is the measurement of the same load without the stalled client or the flood.
	Before *measurement `json:"before,omitempty"`
}
