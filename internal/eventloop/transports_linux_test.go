package eventloop_test

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

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
	fd, err := netconn.Dup(conn)
	conn.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	socket := new(eventloop.Socket)
	if err := g.Add(socket, fd, s, eventloop.Placement{}); err != nil {
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

// A read that returns less than asked for has drained a TCP socket, but not a unix one:
// there it stops where a file descriptor was passed.
func TestConnShortRead(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if tr.waits {
			t.Skip("it reads ahead")
		}
		s := tr.make(t, echoes)
		if u, ok := s.peer.(*net.UnixConn); ok {
			if _, _, err := u.WriteMsgUnix([]byte("a"), unix.UnixRights(int(os.Stderr.Fd())), nil); err != nil {
				t.Fatal(err)
			}
		}
		s.send("b")
		var text string
		var short bool // drained after a short read
		eventually(t, "all is read", func() bool {
			var p [10]byte
			n, drained, err := s.Read(p[:])
			if err != nil {
				t.Fatal(err)
			}
			if text += string(p[:n]); n > 0 {
				short = drained
			}
			return text == "ab" || text == "b"
		})
		if short == tr.pieces {
			t.Errorf("a short read has drained the socket: %t", short)
		}
		s.Read(make([]byte, 1))
		s.begin()
	})
}
