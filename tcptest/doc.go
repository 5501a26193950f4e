// Package tcptest tests TCP handlers in memory, as net/http/httptest tests
// those of HTTP.
//
// [Pipe] makes the two ends of a connection, [Listen] a listener whose
// connections are made by [Listener.Dial]. There are no ports and no system
// calls in between, so a test can run in a testing/synctest bubble, where a
// time-out of an hour passes at once:
//
//	synctest.Test(t, func(t *testing.T) {
//		client, server := tcptest.Pipe()
//		go handle(server) // the code under test; drops an idle client after an hour
//		tcptest.Send(t, client, "hello\n")
//		tcptest.Receive(t, client, "hello\n")
//		tcptest.ReceiveAll(t, client, "") // its FIN, an hour later
//		client.Close()
//	})
//
// Unlike net.Pipe, a [Conn] is what a handler meets in production: writes go
// into a bounded buffer, either direction can be shut down on its own, a close
// may turn into a reset, and both ends have addresses. What a Conn does, and
// what its errors are, is what a TCP socket of Linux does on the loopback
// interface. The package's tests run the same cases over both and compare every
// result and every error text.
//
// [NewServer] is for what needs real sockets. [Send], [Receive], [ReceiveAll] and
// [ReceiveReset] are for the client's side of a test, on either.
//
// # What is left out
//
// A connection has one buffer in each direction, where TCP has the sender's and
// the receiver's. So bytes that Write has taken have always arrived: a reset
// never overtakes them, as it may on a slow network. Nothing is delayed,
// reordered, or lost. Dialling waits for room in the backlog for as long as its
// context allows, where TCP gives up after some minutes.
package tcptest
