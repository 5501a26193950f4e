package eventloop_test

import (
	"net"
	"testing"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
)

func init() {
	transports = append(transports,
		transport{name: "epoll tcp", pair: tcpPair, add: addToLoop, resets: true, looks: true},
		transport{name: "epoll unix", pair: unixPair, add: addToLoop, pieces: true, looks: true},
	)
}

// addToLoop puts the socket of conn on an event loop of its own.
func addToLoop(s *served, conn net.Conn) {
	g, err := eventloop.New(1)
	if err != nil {
		s.t.Fatal(err)
	}
	fd, err := netconn.Detach(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	socket := new(eventloop.Socket)
	if err := g.Add(socket, fd, s); err != nil {
		s.t.Fatal(err)
	}
	s.Conn = socket
	s.t.(*testing.T).Cleanup(func() { <-s.over })
	go func() {
		g.Stop()
		g.Wait(2 * patience)
		close(s.over)
	}()
}
