// Package netconn closes and inspects connections in ways that net.Conn has no method for:
// half-close, lingering close, RST, the pending error, unacknowledged bytes. It works on
// every kind of connection that can do so: plain, wrapped, or in memory. Package rawfd is
// what it does with descriptors.
package netconn
