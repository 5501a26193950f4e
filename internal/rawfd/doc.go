// Package rawfd has system calls on the descriptors of sockets, which never block: what an
// event loop needs, and what package netconn does beneath a net.Conn.
package rawfd
