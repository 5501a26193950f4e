package main

import (
	"fmt"
	"time"
)

// What the page is about.
const (
	clients     = 10_000_000
	machines    = 200
	perMachine  = clients / machines
	natsServers = 5
	perNATS     = machines / natsServers // processes that are connected to a NATS server

	roomsOfClient = 2
	membersOfRoom = 5 // on as many machines: they hardly ever share one of 200

	cores = 2 // of a machine
)

// What was measured. The page says where.
const (
	plainClient  = 573
	tlsClient    = 12.5 * 1024
	hubClient    = 364
	membership   = 70
	kernelSocket = 4.8 * 1024 // of an idle connection, with its place in an epoll

	natsSubscription  = 1317 // in the NATS server of the process that has subscribed
	routeSubscription = 783  // in each other NATS server of the cluster
	goSubscription    = 333  // in nats.go
	bucketKey         = 392  // in each NATS server with a replica of the bucket

	handshakeCPU = 387 * time.Microsecond  // full, with connect, a line and close
	connectCPU   = 22500 * time.Nanosecond // the same without TLS
)

// What is set by default.
const (
	handshakeCores = cores / 2 // tcp.tls.max_handshakes
	connectTimeout = 10 * time.Second
	heartbeat      = time.Second
)

// bytesText formats a number of bytes.
func bytesText(n float64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", n/1e6)
	}
	return fmt.Sprintf("%.0f B", n)
}

// count formats a number with commas.
func count(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", count(n/1000), n%1000)
}

// seconds formats a duration.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
