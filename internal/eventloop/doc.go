// Package eventloop calls handlers when something happens to their connections. It has
// two pollers behind one interface, Conn.
//
// A Group serves the sockets of a handler from a few goroutines, one for each processor and
// shared by the groups of all handlers, instead of one for each connection: an idle socket costs neither a goroutine nor a stack. It uses
// epoll(7), so it is for Linux. What makes it more than the usual event loop is that the
// functions it calls may block. A watchdog looks at each loop every few milliseconds. Where
// a function holds its loop for longer than that, the watchdog takes the loop away from it:
// a new goroutine goes on with the loop and its other sockets, and the one that is
// blocked finishes with its own socket and ends, as the Go scheduler does with a thread
// in a system call that takes long. The functions of a group that turn out to block often are
// run on goroutines of their own for a while.
//
// A Portable serves any net.Conn, on every system, with one goroutine that waits for its
// events. Where a Write would have to wait, a second goroutine exists meanwhile.
//
// One goroutine at a time serves a connection, in the order of its events. Which one it
// is may change from one call to the next.
package eventloop
