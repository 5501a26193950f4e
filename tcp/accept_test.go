//go:build unix

package tcp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// script is a listener whose Accept returns what the test says, and waits when
// nothing is left.
type script struct {
	steps  chan any // a net.Conn or an error
	closed chan struct{}
	close  func()

	mu    sync.Mutex
	calls []time.Time
}

func newScript(steps ...any) *script {
	s := &script{steps: make(chan any, 1000), closed: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	s.then(steps...)
	return s
}

// then adds to what comes.
func (s *script) then(steps ...any) {
	for _, step := range steps {
		s.steps <- step
	}
}

func (s *script) Accept() (net.Conn, error) {
	s.mu.Lock()
	s.calls = append(s.calls, time.Now())
	s.mu.Unlock()
	select {
	case step := <-s.steps:
		if err, ok := step.(error); ok {
			return nil, err
		}
		return step.(net.Conn), nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *script) Close() error {
	s.close()
	return nil
}

func (s *script) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
}

// gaps returns the times between the calls of Accept.
func (s *script) gaps() (gaps []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.calls[1:] {
		gaps = append(gaps, s.calls[i+1].Sub(s.calls[i]))
	}
	return gaps
}

// failed is the error of accept(2) as package net wraps it.
func failed(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
}

func times(n int, err error) (steps []any) {
	for range n {
		steps = append(steps, err)
	}
	return steps
}

func milliseconds(list ...int) (durations []time.Duration) {
	for _, ms := range list {
		durations = append(durations, time.Duration(ms)*time.Millisecond)
	}
	return durations
}

func TestAcceptBacksOff(t *testing.T) {
	// Both ways to have room for a client: a place taken before the accept,
	// and one taken after it.
	for _, whenFull := range []tcp.WhenFull{tcp.FullWait, tcp.FullRefuse} {
		t.Run(string(whenFull), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := tcptest.Pipe()
				ln := newScript(times(10, failed(syscall.EMFILE))...)
				ln.then(server)
				ln.then(times(3, failed(syscall.ENFILE))...)
				log := &journal{}
				srv := &tcp.Server{Handler: echo(), Config: tcp.Config{WhenFull: whenFull, Log: log.logger()}}
				result := serve(t.Context(), t, srv, ln)
				exchange(t, client, "a\n")
				time.Sleep(time.Minute)
				client.Close()

				want := milliseconds(5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, // EMFILE
					0,         // a client
					5, 10, 20) // ENFILE
				if got := ln.gaps(); !slices.Equal(got, want) {
					t.Errorf("pauses\n got %v\nwant %v", got, want)
				}
				if n := srv.Stats().AcceptErrors; n != 13 {
					t.Errorf("%d accept errors counted, want 13", n)
				}
				shutdown(t, srv)
				if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
					t.Errorf("serve: %v", err)
				}
			})
		})
	}
}

// Two listeners that are in trouble at the same time do not keep each other
// awake.
func TestAcceptBacksOffOnTwoListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &tcp.Server{Config: tcp.Config{Log: new(journal).logger()}}
		var lns []*script
		var results []func() error
		for range 2 {
			ln := newScript(times(1000, failed(syscall.EMFILE))...)
			lns = append(lns, ln)
			results = append(results, serve(t.Context(), t, srv, ln))
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		shutdown(t, srv)
		for i, ln := range lns {
			if n := len(ln.gaps()); n > 20 {
				t.Errorf("listener %d: %d accepts in about 10 s", i+1, n)
			}
			results[i]()
		}
	})
}

func TestAcceptLogsOneLineAnEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &journal{}
		srv := &tcp.Server{Config: tcp.Config{Log: log.logger()}}
		ln := newScript(times(30, failed(syscall.EMFILE))...)
		result := serve(t.Context(), t, srv, ln)
		time.Sleep(time.Minute)
		lines := log.find("accept failed, trying again")
		if len(lines) != 1 {
			t.Fatalf("%d lines about an episode: %v", len(lines), lines)
		}
		line := lines[0]
		if line["level"] != "WARN" || line["addr"] != ln.Addr().String() || !strings.Contains(line["err"], "too many open files") {
			t.Errorf("logged %v", line)
		}
		// Successes in between do not make it many episodes.
		for range 30 {
			client, server := tcptest.Pipe()
			client.Close()
			ln.then(failed(syscall.EMFILE), server)
		}
		time.Sleep(time.Minute)
		if n := len(log.find("accept failed, trying again")); n != 2 {
			t.Errorf("%d lines about two episodes", n)
		}
		shutdown(t, srv)
		result()
	})
}

// passing is an error of a listener that wraps another.
type passing bool

func (p passing) Error() string   { return "refused by policy" }
func (p passing) Temporary() bool { return bool(p) }

// closedPassing is the error of such a listener once it is closed.
type closedPassing struct {
	passing
	closed error
}

func (c closedPassing) Unwrap() error { return c.closed }

func TestAcceptErrorsThatPass(t *testing.T) {
	list := map[string]error{
		"temporary":         passing(true),
		"temporary wrapped": fmt.Errorf("policy: %w", passing(true)),
		"bare errno":        syscall.EMFILE,
	}
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPROTO, syscall.ENETDOWN, syscall.EHOSTUNREACH,
	} {
		list[errno.Error()] = failed(errno)
		list[errno.Error()+" wrapped"] = fmt.Errorf("tls: %w", failed(errno))
	}
	for name, err := range list {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := tcptest.Pipe()
				srv := &tcp.Server{Handler: echo(), Config: tcp.Config{Log: new(journal).logger()}}
				result := serve(t.Context(), t, srv, newScript(err, server))
				exchange(t, client, "a\n")
				client.Close()
				if s := srv.Stats(); s.AcceptErrors != 1 || s.Accepted != 1 {
					t.Errorf("stats %+v", s)
				}
				shutdown(t, srv)
				result()
			})
		})
	}
}

func TestAcceptErrorsThatDoNotPass(t *testing.T) {
	list := map[string]error{
		"unknown":                               errors.New("the cable is gone"),
		"EBADF":                                 failed(syscall.EBADF),
		"EINVAL":                                failed(syscall.EINVAL),
		"EOF":                                   io.EOF,
		"not temporary":                         passing(false),
		"closed":                                &net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed},
		"closed, though it says that it passes": closedPassing{passing(true), net.ErrClosed},
	}
	for name, cause := range list {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := tcptest.Pipe()
				ln := newScript(server, cause)
				srv := &tcp.Server{Handler: echo()}
				err := serve(t.Context(), t, srv, ln)()
				if !errors.Is(err, cause) || errors.Is(err, tcp.ErrServerClosed) ||
					!strings.Contains(err.Error(), ln.Addr().String()) {
					t.Errorf("serve: %v", err)
				}
				if _, open := <-ln.closed; open {
					t.Error("the listener is open")
				}
				exchange(t, client, "still served\n")
				shutdown(t, srv)
				receiveAll(t, client, "")
			})
		})
	}
}

// When a connection ends a descriptor comes free, and there is no reason to
// wait for the rest of the pause.
func TestAcceptTriesAgainWhenAConnectionEnds(t *testing.T) {
	for _, whenFull := range []tcp.WhenFull{tcp.FullWait, tcp.FullRefuse} {
		t.Run(string(whenFull), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := tcptest.Pipe()
				ln := newScript(server)
				ln.then(times(5, failed(syscall.EMFILE))...)
				srv := &tcp.Server{Handler: echo(), Config: tcp.Config{WhenFull: whenFull, Log: new(journal).logger()}}
				result := serve(t.Context(), t, srv, ln)
				exchange(t, client, "a\n")
				time.Sleep(100 * time.Millisecond) // in the pause of 80 ms
				client.Close()
				time.Sleep(time.Minute)
				want := milliseconds(0, 5, 10, 20, 40, 25)
				if got := ln.gaps(); !slices.Equal(got, want) {
					t.Errorf("pauses\n got %v\nwant %v", got, want)
				}
				shutdown(t, srv)
				result()
			})
		})
	}
}

func TestShutdownEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &tcp.Server{Config: tcp.Config{Log: new(journal).logger()}}
		result := serve(t.Context(), t, srv, newScript(times(1000, failed(syscall.EMFILE))...))
		time.Sleep(10*time.Second + 500*time.Millisecond) // amid a pause of 1 s
		begin := time.Now()
		shutdown(t, srv)
		if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("shutdown took %v", took)
		}
	})
}

// A process that is out of file descriptors goes on serving its clients, and
// takes the others in when it has some again.
func TestOutOfFiles(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	if testutil.OpenFiles(t) == 0 {
		t.Skip("no such limit here")
	}
	c := startChild(t, childSpec{Server: "wireline", DrainTimeout: patience, MaxFiles: 40})
	const n = 60 // connects succeed: the kernel's queue takes them
	var conns []net.Conn
	for range n {
		conn := c.dial()
		send(t, conn, "a\n")
		conns = append(conns, conn)
	}
	c.wait("accept failed, trying again")
	served := make([]bool, n)
	wait := 2 * time.Second // on a busy machine an answer takes its time
	for i, conn := range conns {
		if served[i] = !silent(conn, wait); !served[i] {
			wait = 20 * time.Millisecond
		}
	}
	first := slices.Index(served, false)
	if first < 10 || slices.Contains(served[first:], true) {
		t.Fatalf("served in a process of 40 files: %v", served)
	}
	receive(t, conns[0], "\n") // the rest of its line
	exchange(t, conns[0], "still served\n")
	for i, conn := range conns[:first] {
		conn.Close()
		if i < n-first {
			receive(t, conns[first+i], "a\n")
		}
	}
	c.signal(syscall.SIGTERM)
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
	if lines := c.find("accept failed, trying again"); len(lines) != 1 {
		t.Errorf("%d lines about one episode", len(lines))
	}
	// Out of files for more than a second: a loop without pauses needs as
	// much of the processor.
	state := c.cmd.ProcessState
	if used := state.UserTime() + state.SystemTime(); used > 700*time.Millisecond {
		t.Errorf("%v of processor time", used)
	}
}
