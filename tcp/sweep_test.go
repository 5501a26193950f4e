package tcp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// What waits in the kernel's queue when the server stops has every reason to
// believe that it is connected. It gets an answer or a FIN, and no reset.

// queued is how many clients wait.
const queued = 50

// outcomes reads every connection to its end and counts what came.
func outcomes(conns []net.Conn) map[string]int {
	var mu sync.Mutex
	var g sync.WaitGroup
	counts := make(map[string]int)
	for _, conn := range conns {
		g.Go(func() {
			text, err := io.ReadAll(conn)
			what := fmt.Sprintf("%q", text)
			if err != nil {
				what = fmt.Sprintf("%q, %v", text, err.(*net.OpError).Err)
			}
			mu.Lock()
			defer mu.Unlock()
			counts[what]++
		})
	}
	g.Wait()
	return counts
}

// queue connects the clients and sends what they say.
func queue(t *testing.T, addr, text string) (conns []net.Conn) {
	t.Helper()
	for range queued {
		conn := dial(t, "tcp", addr)
		send(t, conn, text)
		conns = append(conns, conn)
	}
	return conns
}

// stopped is a listener that accepts nothing before the server stops.
type stopped struct {
	*net.TCPListener
	accepting, interrupted chan struct{}
	once                   sync.Once

	stall   time.Duration // how long the system does not run the sweep's first Accept
	accepts int
}

func (s *stopped) Accept() (net.Conn, error) {
	s.accepts++
	switch s.accepts {
	case 1:
		close(s.accepting)
		<-s.interrupted
	case 2:
		time.Sleep(s.stall)
	}
	return s.TCPListener.Accept()
}

func (s *stopped) SetDeadline(t time.Time) error {
	err := s.TCPListener.SetDeadline(t)
	s.once.Do(func() { close(s.interrupted) })
	return err
}

func TestShutdownServesTheQueue(t *testing.T) {
	testutil.Long(t)
	tests := []struct {
		text, want string
		stall      time.Duration
	}{
		{"", "", 0},
		{"a\n", "a\n", 0},
		{"a\nhalf a ", "a\n", 0},
		{"a\n", "a\n", 50 * time.Millisecond}, // longer than the sweep waits for one
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%q stall %v", test.text, test.stall), func(t *testing.T) {
			ln := &stopped{
				TCPListener: listenTCP(t),
				accepting:   make(chan struct{}), interrupted: make(chan struct{}),
				stall: test.stall,
			}
			srv := &tcp.Server{Handler: echo()}
			result := serve(context.Background(), t, srv, ln)
			conns := queue(t, ln.Addr().String(), test.text)
			<-ln.accepting
			shutdown(t, srv)
			result()
			if got := outcomes(conns); got[fmt.Sprintf("%q", test.want)] != queued {
				t.Errorf("%d clients waited, each was to get %q; they got %v", queued, test.want, got)
			}
			if n := srv.Stats().Accepted; n != queued {
				t.Errorf("%d were accepted", n)
			}
		})
	}
}

// Clients that a full server has no place for get at least a FIN.
func TestShutdownTurnsTheQueueAway(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	configs := map[string]tcp.Config{
		"full": {MaxClients: 1},
		"rate": {AcceptRate: 0.001},
	}
	for name, cfg := range configs {
		for _, text := range []string{"", "a\n", "half a line"} {
			t.Run(fmt.Sprintf("%s %q", name, text), func(t *testing.T) {
				g := newGate(t)
				s := start(t, cfg, echoAfter(g.work))
				first := dial(t, "tcp", s.Addr)
				send(t, first, "hold\n")
				testutil.Await(t, "the first client", g.holding)
				conns := queue(t, s.Addr, text)
				done := make(chan error, 1)
				go func() { done <- s.Shutdown(within(t, patience)) }()
				got := outcomes(conns)
				g.open()
				receiveAll(t, first, "hold\n")
				if err := testutil.Await(t, "the shutdown", done); err != nil {
					t.Errorf("shutdown: %v", err)
				}
				if got[`""`]+got[`"a\n"`] != queued {
					t.Errorf("%d clients waited, they got %v", queued, got)
				}
				if st := s.TCP.Stats(); name == "full" && st.Accepted+st.RefusedFull != 1+queued {
					t.Errorf("%d were accepted, %d refused; want %d together", st.Accepted, st.RefusedFull, 1+queued)
				}
			})
		}
	}
}

// late is a listener whose first interruption comes late: when the sweep has
// begun, if that does not wait for it.
type late struct {
	*net.TCPListener
	swept chan struct{} // closed when the sweep has set its deadline
	once  sync.Once
}

func (l *late) SetDeadline(t time.Time) error {
	if t.Before(time.Unix(1000, 0)) {
		receivedSoon(l.swept, 100*time.Millisecond)
		return l.TCPListener.SetDeadline(t)
	}
	err := l.TCPListener.SetDeadline(t)
	l.once.Do(func() {
		close(l.swept)
		time.Sleep(2 * time.Millisecond) // let the interruption overtake
	})
	return err
}

// The accept loop learns by a channel that the server stops, and by a deadline
// on its listener. The second must not put an end to the sweep.
func TestInterruptDoesNotEndTheSweep(t *testing.T) {
	g := newGate(t)
	srv := &tcp.Server{Handler: echoAfter(g.work), Config: tcp.Config{MaxClients: 1}}
	ln := &late{TCPListener: listenTCP(t), swept: make(chan struct{})}
	result := serve(context.Background(), t, srv, ln)
	first := dial(t, "tcp", ln.Addr().String())
	send(t, first, "hold\n")
	testutil.Await(t, "the first client", g.holding)
	conns := queue(t, ln.Addr().String(), "") // the loop waits for a place
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(within(t, patience)) }()
	if got := outcomes(conns); got[`""`] != queued {
		t.Errorf("%d clients waited, they got %v", queued, got)
	}
	g.open()
	receiveAll(t, first, "hold\n")
	if err := testutil.Await(t, "the shutdown", done); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	result()
}

// onClose is a listener whose connections call before when they are closed.
type onClose struct {
	*net.TCPListener
	before func()
}

func (l *onClose) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &closing{TCPConn: conn, before: sync.OnceFunc(l.before)}, nil
}

type closing struct {
	*net.TCPConn
	before func()
}

func (c *closing) Close() error {
	c.before()
	return c.TCPConn.Close()
}

// An idle client may send a line at the very moment when it gets its FIN. It
// gets the FIN all the same, and no reset instead.
func TestDrainOfAClientThatSendsAtThatMoment(t *testing.T) {
	kinds := map[string]handler.Handler{
		"frames": echo(),
		"func": handler.Func(func(_ context.Context, conn net.Conn) {
			io.Copy(conn, conn)
		}),
	}
	for name, h := range kinds {
		t.Run(name, func(t *testing.T) {
			ln := &onClose{TCPListener: listenTCP(t)}
			var conn net.Conn
			ln.before = func() { io.WriteString(conn, "too late\n") }
			srv := &tcp.Server{Handler: h}
			result := serve(context.Background(), t, srv, ln)
			conn = dial(t, "tcp", ln.Addr().String())
			exchange(t, conn, "a\n")
			shutdown(t, srv)
			receiveAll(t, conn, "")
			result()
		})
	}
}

// A client that comes during the drain is refused at once, and does not hang.
func TestDrainRefusesNewClients(t *testing.T) {
	g := newGate(t)
	s := start(t, tcp.Config{}, echoAfter(g.work))
	idle, busy := dial(t, "tcp", s.Addr), dial(t, "tcp", s.Addr)
	exchange(t, idle, "a\n")
	send(t, busy, "hold\n")
	testutil.Await(t, "the line", g.holding)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(within(t, patience)) }()
	receiveAll(t, idle, "") // the drain has begun
	if conn, err := net.DialTimeout("tcp", s.Addr, patience); err == nil {
		conn.Close()
		t.Error("connected during the drain")
	} else if isTimeout(err) {
		t.Errorf("a connect during the drain hangs: %v", err)
	}
	g.open()
	receiveAll(t, busy, "hold\n")
	if err := testutil.Await(t, "the shutdown", done); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}

// Two processes may share a listening socket: what one inherits from the other,
// or both from systemd. The end of one does not concern the other.
func TestShutdownLeavesASharedSocketAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a listener has no file on Windows")
	}
	first, err := tcp.Listen(context.Background(), &tcp.Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	file, err := first.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	second, err := net.FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	addr := first.Addr().String()

	predecessor := &tcp.Server{Handler: echo()}
	result := serve(context.Background(), t, predecessor, first)
	exchange(t, dial(t, "tcp", addr), "a\n")
	shutdown(t, predecessor)
	result()
	successor := &tcp.Server{Handler: echo()}
	serve(context.Background(), t, successor, second)
	exchange(t, dial(t, "tcp", addr), "b\n")
}
