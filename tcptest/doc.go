// Package tcptest has helpers to test TCP handlers in memory, as net/http/httptest has
// for HTTP handlers.
//
// [Pipe] returns the two ends of a connection. [Listen] returns a listener;
// [Listener.Dial] connects to it. They use no ports and no system calls, so a test can
// run in a testing/synctest bubble, where a timeout of an hour passes at once:
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
// Unlike the connections of net.Pipe, a [Conn] behaves like a connection in production:
// writes go into a limited buffer, each direction can be shut down separately, a close
// may become a reset, and both ends have addresses. Its behaviour and errors are those
// of a Linux TCP socket on the loopback interface. The tests of this package run the
// same cases over both, and compare every result and every error text.
//
// [NewServer] is for tests that need real sockets. [Send], [Receive], [ReceiveAll] and
// [ReceiveReset] are for the client side of a test, over either kind of connection.
//
// # Limitations
//
// A connection has one buffer in each direction, while TCP has one of the sender and
// one of the receiver. So bytes that Write has accepted have always arrived, and a
// reset never overtakes them, as it may on a slow network. Nothing is delayed,
// reordered, or lost. Dial waits for room in the backlog for as long as its context
// allows, while TCP gives up after some minutes.
package tcptest
