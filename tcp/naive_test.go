package tcp_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// options is what a server under test is asked for.
type options struct {
	work         func(line string) // before the line comes back
	maxClients   int
	idleTimeout  time.Duration
	writeTimeout time.Duration
	drainTimeout time.Duration
}

// naive is the server of the usual tutorial: an accept loop, a sync.Map of
// clients, and a WaitGroup with a timeout. It has every one of the 13 defects
// that TestBaseline looks for; the comments name them by number. It shows that
// those tests can fail, and must not be improved.
type naive struct {
	options
	listener net.Listener
	counter  atomic.Int32
	conns    sync.WaitGroup

	clients sync.Map // *naiveClient to struct{}
	closing atomic.Bool
}

func newNaive(ln net.Listener, o options) *naive {
	return &naive{options: o, listener: ln} // 9: nothing reads maxClients, or any timeout
}

// serveUntilSignal is ListenAndServe of the tutorial.
func (s *naive) serveUntilSignal() {
	//lint:ignore S1019 the size is the point
	signals := make(chan os.Signal, 0) // 10: a signal is lost if nothing receives at the moment
	//lint:ignore SA1017 so is this
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		<-signals
		s.Shutdown()
	}()
	s.Serve()
}

func (s *naive) Serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			break // 1: whatever it was
		}
		// 7: the decrement is atomic, this is not. With counter++ it would be
		// a data race too, and the race detector would end the tests.
		n := s.counter.Load()
		slog.Debug("client", "number", n+1, "peer", conn.RemoteAddr().String())
		s.counter.Store(n + 1)
		s.conns.Add(1)
		go func() {
			defer s.conns.Done()
			defer s.counter.Add(-1)
			s.handle(conn) // 13
		}()
	}
	s.conns.Wait() // 3: for a client that Shutdown has missed too
}

func (s *naive) Shutdown() {
	s.listener.Close()
	s.closing.Store(true)
	s.clients.Range(func(c, _ any) bool {
		c.(*naiveClient).close(s.drainTimeout) // 4: one after the other
		return true
	})
}

func (s *naive) Active() int    { return int(s.counter.Load()) }
func (s *naive) Draining() bool { return s.closing.Load() }

func (s *naive) handle(conn net.Conn) {
	if s.closing.Load() {
		conn.Close()
		return
	}
	slog.Debug("serving", "peer", conn.RemoteAddr().String())
	c := &naiveClient{conn: conn}
	s.clients.Store(c, struct{}{})
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n') // 8
		if err != nil {
			if err == io.EOF {
				s.clients.Delete(c)
			}
			return // 2: and the connection?
		}
		c.busy.Add(1)
		s.work(line[:len(line)-1])
		c.conn.Write([]byte(line)) // 11, 12
		c.busy.Done()              // 6: and on to the next line
	}
}

type naiveClient struct {
	conn net.Conn
	busy sync.WaitGroup
}

// close waits until the client's line is answered.
func (c *naiveClient) close(timeout time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { recover() }() // 5: "WaitGroup is reused", when Add runs meanwhile
		c.busy.Wait()                // 5: stays after the timeout
	}()
	select {
	case <-done:
	case <-time.After(timeout):
	}
	c.conn.Close()
}
