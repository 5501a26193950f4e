package eventloop_test

import (
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
)

// stressed is a member that does at random what a Ready may do, and echoes what
// comes.
type stressed struct {
	*member
	random *rand.Rand
	text   []byte // read, still to be echoed

	wakes, seen atomic.Int64 // calls of Wake, and those that Ready has seen
	expirations atomic.Int64
}

func (s *stressed) ready(m *member, _ *eventloop.Worker, ev eventloop.Event) (more bool) {
	wakes := s.wakes.Load()
	if ev&eventloop.Woken != 0 {
		s.seen.Store(wakes)
	}
	var p [64]byte
	n, err := unix.Read(m.FD(), p[:1+s.random.IntN(64)])
	switch {
	case n == 0 && err == nil:
		m.remove()
		return false
	case n > 0:
		s.text = append(s.text, p[:n]...)
	}
	switch s.random.IntN(100) {
	case 0:
		time.Sleep(time.Duration(s.random.IntN(10)) * time.Millisecond)
	case 1:
		for end := time.Now().Add(time.Duration(s.random.IntN(8)) * time.Millisecond); time.Now().Before(end); {
		}
	case 2:
		runtime.Gosched()
	case 3:
		m.Wake() // for what is not read yet
		m.write(s.text)
		s.text = s.text[:0]
		runtime.Goexit()
	}
	m.write(s.text)
	s.text = s.text[:0]
	return n > 0
}

// client sends, and demands the echo; wakes, and demands a Ready; sets timers,
// and demands that they fire. Then it closes its end.
func (s *stressed) client(random *rand.Rand, rounds int) {
	t := s.group.t
	defer s.peer.Close()
	for n := byte(0); rounds > 0; rounds-- {
		p := make([]byte, 1+random.IntN(100))
		for i := range p {
			p[i] = n
			n++
		}
		if _, err := s.peer.Write(p); err != nil {
			t.Errorf("write: %v", err)
			return
		}
		fired := s.expirations.Load()
		timed := random.IntN(10) == 0
		if timed {
			s.SetTimer(s.Now() + random.Int64N(int64(60*time.Millisecond)))
		}
		if random.IntN(3) == 0 {
			s.wakes.Add(1)
			s.Wake()
		}
		got := make([]byte, len(p))
		if _, err := io.ReadFull(s.peer, got); err != nil || string(got) != string(p) {
			t.Errorf("echo %v, %v; want %v", got, err, p)
			return
		}
		if timed && !soon(patience, func() bool { return s.expirations.Load() > fired }) {
			t.Error("a timer does not fire")
			return
		}
		if want := s.wakes.Load(); !soon(patience, func() bool { return s.seen.Load() >= want }) {
			t.Error("a Wake is lost")
			return
		}
	}
}

func TestStress(t *testing.T) {
	testutil.Long(t)
	files := testutil.OpenFiles(t)
	g := newGroup(t, 3)
	var all sync.WaitGroup
	var members []*stressed
	for i := range uint64(200) {
		s := &stressed{random: rand.New(rand.NewPCG(i, 1))}
		s.member = g.add(s.ready)
		s.expired = func() {
			s.expirations.Add(1)
			s.wakes.Add(1)
			s.Wake()
		}
		s.Start()
		members = append(members, s)
		all.Go(func() { s.client(rand.New(rand.NewPCG(i, 2)), 40) })
	}
	all.Wait()
	for _, s := range members {
		eventually(t, "a socket whose peer has left is removed", s.left.Load)
	}
	g.end()
	if !soon(patience, func() bool { return testutil.OpenFiles(t) <= files }) {
		t.Errorf("%d open files before, %d after", files, testutil.OpenFiles(t))
	}
}
