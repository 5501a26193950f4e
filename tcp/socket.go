package tcp

import "time"

// Socket has the socket options of listeners and of the connections that they accept. The
// zero value is what package net sets.
type Socket struct {
	// NoDelay sends small writes at once (TCP_NODELAY). SwitchOff leaves Nagle's
	// algorithm on (RFC 896): a small write waits for the acknowledgement of the one
	// before.
	NoDelay Switch `config:"no_delay,bool" default:"true" help:"send small writes at once (TCP_NODELAY)"`

	// KeepAlive notices clients that have vanished while nothing is sent.
	KeepAlive KeepAlive `config:"keepalive"`

	// UserTimeout breaks a connection whose peer has not acknowledged what was sent for
	// that long (RFC 5482). It also bounds the unanswered probes of KeepAlive, in the
	// place of its Count. Zero means the system's time: on Linux some 15 minutes, after
	// 15 attempts.
	UserTimeout time.Duration `config:"user_timeout" default:"0s" help:"break a connection whose peer acknowledges nothing for this time (TCP_USER_TIMEOUT), 0s = the system's time"`

	// Backlog is the length of the kernel's queue of connections that were not accepted
	// yet. Zero means the system's maximum.
	Backlog int `config:"backlog" default:"0" help:"length of the kernel's queue, 0 = the system's maximum"`

	// ReusePort lets several sockets listen on the address (SO_REUSEPORT). On Linux each
	// gets its share of the connections.
	ReusePort bool `config:"reuse_port" default:"false" help:"several processes may listen on the address (SO_REUSEPORT)"`

	// FastOpen is how many clients that have sent data with their SYN may wait for their
	// handshake (RFC 7413). Zero turns that off. Such data can come twice, so the
	// protocol must be able to bear that.
	FastOpen int `config:"fast_open" default:"0" help:"queue for data that comes with the SYN (TCP_FASTOPEN), 0 = off"`

	// DeferAccept keeps a client that has not sent anything in the kernel's queue, in
	// whole seconds; Linux rounds up to its retransmissions: 1, 3, 7, 15 and so on. It
	// does not suit protocols where the server speaks first. Zero turns that off.
	DeferAccept time.Duration `config:"defer_accept" default:"0s" help:"accept a client when it has sent something, or after this time (TCP_DEFER_ACCEPT), 0s = at once"`

	// ReceiveBuffer and SendBuffer are the sizes of the kernel's buffers for each
	// connection, in bytes. Zero means that the system sizes them by need.
	ReceiveBuffer int `config:"receive_buffer,size" default:"0" help:"kernel's buffer for what a client sends (SO_RCVBUF), 0 = sized by the system"`
	SendBuffer    int `config:"send_buffer,size" default:"0" help:"kernel's buffer for what is sent to a client (SO_SNDBUF), 0 = sized by the system"`
}

// KeepAlive notices a client that has vanished while nothing is on its way to it: after
// Idle without a byte the kernel sends a probe, then one each Interval, and breaks the
// connection when Count of them were not answered (RFC 9293, 3.8.4). The zero value is
// what package net sets.
type KeepAlive struct {
	// Enable turns the probes on.
	Enable Switch `config:"enable,bool" default:"true" help:"probe silent clients, so that one that has vanished is noticed"`

	// Idle is how long a client is silent before the first probe, in whole seconds. Zero
	// means 15 seconds.
	Idle time.Duration `config:"idle" default:"15s" zero:"-1" help:"silence before the first probe, whole seconds"`

	// Interval is the time between two probes, in whole seconds. Zero means 15 seconds.
	Interval time.Duration `config:"interval" default:"15s" zero:"-1" help:"time between two probes, whole seconds"`

	// Count is how many probes in a row are not answered before the connection is broken.
	// Zero means 9.
	Count int `config:"count" default:"9" zero:"-1" help:"unanswered probes before the connection is broken"`
}

// The keep-alive of package net.
const (
	defaultIdle     = 15 * time.Second
	defaultInterval = 15 * time.Second
	defaultCount    = 9
)
