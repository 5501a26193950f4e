// Package netconn has the ways to end a connection that net.Conn does not name,
// for every kind of connection that has them: plain, wrapped, or in memory; and,
// on Linux, the system calls on sockets that never block.
package netconn
