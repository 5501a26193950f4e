package eventloop_test

import (
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
)

// group is a Group whose test ends it, with all its members.
type group struct {
	*eventloop.Group
	t       *testing.T
	members []*member
}

func newGroup(t *testing.T, loops int) *group {
	t.Helper()
	inner, err := eventloop.New(loops)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, inner)
}

// joinGroup returns a group on the loops of the process.
func joinGroup(t *testing.T) *group {
	t.Helper()
	inner, err := eventloop.Join()
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, inner)
}

func wrap(t *testing.T, inner *eventloop.Group) *group {
	g := &group{Group: inner, t: t}
	t.Cleanup(g.end)
	return g
}

// end removes the members that are left and waits for the end of the group.
func (g *group) end() {
	for _, m := range g.members {
		m.leave()
	}
	g.Stop()
	if g.Wait(patience) {
		g.t.Errorf("the group has not ended in %v; its loops have %v sockets", patience, g.Loads())
	}
	for _, m := range g.members {
		m.peer.Close()
	}
}

type ready func(m *member, w *eventloop.Worker, ev eventloop.Event) (more bool)

// member is one end of a pair of sockets, and its handler; the test has the
// other end.
type member struct {
	eventloop.Socket
	group *group
	peer  net.Conn
	ready ready

	// May be nil.
	writable, slow, expired func()

	inside atomic.Int32 // calls of Ready at this moment
	quit   atomic.Bool  // Ready is to remove the socket
	left   atomic.Bool  // it has
}

// add adds a member, which is still to be started.
func (g *group) add(ready ready) *member {
	g.t.Helper()
	return g.addAt(ready, eventloop.Placement{})
}

// addAt is add with a place.
func (g *group) addAt(ready ready, where eventloop.Placement) *member {
	g.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[1]), "peer")
	peer, err := net.FileConn(file)
	file.Close()
	if err != nil {
		g.t.Fatal(err)
	}
	peer.SetDeadline(time.Now().Add(3 * patience))
	m := &member{group: g, peer: peer, ready: ready}
	if err := g.Add(&m.Socket, fds[0], m, where); err != nil {
		g.t.Fatal(err)
	}
	g.members = append(g.members, m)
	return m
}

// start adds a member and starts it.
func (g *group) start(ready ready) *member {
	g.t.Helper()
	m := g.add(ready)
	m.Start()
	return m
}

// Ready implements eventloop.Handler.
func (m *member) Ready(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	if n := m.inside.Add(1); n != 1 {
		m.group.t.Errorf("%d goroutines serve one socket", n)
	}
	defer m.inside.Add(-1)
	switch {
	case m.left.Load():
		m.group.t.Error("Ready is called after Remove")
	case m.quit.Load():
		m.remove()
	default:
		return m.ready(m, w, ev)
	}
	return false
}

// remove is for Ready.
func (m *member) remove() {
	m.Remove()
	m.left.Store(true)
	unix.Close(m.FD())
}

// leave has the socket removed, if it is not yet.
func (m *member) leave() {
	m.quit.Store(true)
	m.Wake()
}

// Writable implements eventloop.Handler.
func (m *member) Writable() { call(m.writable) }

// Slow implements eventloop.Handler.
func (m *member) Slow() { call(m.slow) }

// Expired implements eventloop.Handler.
func (m *member) Expired() { call(m.expired) }

// read reads what is there. It reports whether that is the end of the stream.
func (m *member) read() (b []byte, eof bool) {
	for p := make([]byte, 4096); ; {
		n, err := unix.Read(m.FD(), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return b, false
		case n == 0:
			return b, true
		default:
			b = append(b, p[:n]...)
		}
	}
}

func (m *member) write(b []byte) { unix.Write(m.FD(), b) }

// echo sends back what has come.
func echo(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
	b, _ := m.read()
	m.write(b)
	return false
}

// does calls what actions has for each byte that comes, and echoes the byte then.
func does(actions map[byte]func()) ready {
	return func(m *member, w *eventloop.Worker, _ eventloop.Event) bool {
		b, _ := m.read()
		for i, c := range b {
			call(actions[c])
			m.write(b[i : i+1])
		}
		return false
	}
}

func (m *member) send(text string) {
	m.group.t.Helper()
	if _, err := m.peer.Write([]byte(text)); err != nil {
		m.group.t.Fatalf("write: %v", err)
	}
}

// receive demands exactly text next.
func (m *member) receive(text string) {
	m.group.t.Helper()
	m.peer.SetReadDeadline(time.Now().Add(patience))
	for got := ""; got != text; {
		p := make([]byte, len(text)-len(got))
		n, err := m.peer.Read(p)
		if got += string(p[:n]); err != nil || got != text[:len(got)] {
			m.group.t.Fatalf("read %q, %v; want %q", got, err, text)
		}
	}
}

// ping makes a round trip.
func (m *member) ping(text string) {
	m.group.t.Helper()
	m.send(text)
	m.receive(text)
}
