// Package transport has TLS as something that a connection on a poller is read and written
// through, without waiting.
package transport
