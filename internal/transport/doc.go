// Package transport has TLS over a connection on a poller. It reads and writes without waiting.
package transport
