package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

func TestZeroServerDiscards(t *testing.T) {
	var srv tcp.Server
	ln := listenTCP(t)
	result := serve(context.Background(), t, &srv, ln)
	conn := dial(t, "tcp", ln.Addr().String())
	send(t, conn, strings.Repeat("all this for nothing\n", 10000))
	conn.(*net.TCPConn).CloseWrite()
	receiveAll(t, conn, "")
	idle := dial(t, "tcp", ln.Addr().String())
	eventually(t, "the clients", func() bool { return srv.Stats().Accepted == 2 && srv.Stats().Active == 1 })
	shutdown(t, &srv)
	receiveAll(t, idle, "")
	if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("serve: %v", err)
	}
}

func TestServeReturnsErrServerClosed(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stops := map[string]func(srv *tcp.Server){
		"shutdown": func(srv *tcp.Server) { srv.Shutdown(context.Background()) },
		"close":    func(srv *tcp.Server) { srv.Close() },
		"context":  func(*tcp.Server) { cancel() },
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			srv := &tcp.Server{Handler: echo()}
			ln := listenTCP(t)
			result := serve(ctx, t, srv, ln)
			exchange(t, dial(t, "tcp", ln.Addr().String()), "a\n")
			stop(srv)
			if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
				t.Errorf("serve: %v", err)
			}
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is open: accept gives %v", err)
			}
		})
	}
}

func TestServeAfterTheEnd(t *testing.T) {
	stops := map[string]func(srv *tcp.Server) error{
		"shutdown": func(srv *tcp.Server) error { return srv.Shutdown(context.Background()) },
		"close":    (*tcp.Server).Close,
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			var srv tcp.Server
			for range 2 { // neither minds that nothing was served
				if err := stop(&srv); err != nil {
					t.Errorf("stop: %v", err)
				}
			}
			ln := listenTCP(t)
			if err := srv.Serve(context.Background(), ln); !errors.Is(err, tcp.ErrServerClosed) {
				t.Errorf("serve: %v", err)
			}
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is open: accept gives %v", err)
			}
		})
	}
}

func TestContextEndDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newGate(t)
		srv := &tcp.Server{Handler: echoAfter(g.work)}
		ln := tcptest.Listen()
		result := serve(ctx, t, srv, ln)
		idle, busy := join(t, ln), join(t, ln)
		exchange(t, idle, "a\n")
		send(t, busy, "hold\n")
		<-g.holding
		cancel()
		receiveAll(t, idle, "")
		time.Sleep(5 * time.Second)
		g.open()
		receiveAll(t, busy, "hold\n")
		if err := result(); !errors.Is(err, tcp.ErrServerClosed) || errors.Is(err, tcp.ErrCut) {
			t.Errorf("serve: %v", err)
		}
		if d := srv.Drained(); d.Idle != 1 || d.Finished != 1 || d.Cut != 0 || d.Took < 5*time.Second {
			t.Errorf("drained %+v", d)
		}
	})
}

func TestContextEndIsBoundedByDrainTimeout(t *testing.T) {
	bounds := map[string]struct{ timeout, want time.Duration }{
		"default": {0, 8 * time.Second},
		"set":     {3 * time.Second, 3 * time.Second},
		"none":    {-1, 0},
	}
	for name, bound := range bounds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				g := newGate(t)
				srv := &tcp.Server{Handler: echoAfter(g.work), Config: tcp.Config{DrainTimeout: bound.timeout}}
				ln := tcptest.Listen()
				result := serve(ctx, t, srv, ln)
				busy := join(t, ln)
				send(t, busy, "hold\n")
				<-g.holding
				begin := time.Now()
				cancel()
				receiveReset(t, busy)
				if took := time.Since(begin); took < bound.want || took > bound.want+500*time.Millisecond {
					t.Errorf("cut after %v, want %v", took, bound.want)
				}
				err := result()
				if !errors.Is(err, tcp.ErrServerClosed) || !errors.Is(err, tcp.ErrCut) {
					t.Errorf("serve: %v", err)
				}
				if took := time.Since(begin); took > bound.want+time.Second {
					t.Errorf("a handler that hangs keeps the server for %v", took)
				}
			})
		})
	}
}

// A connection's context has the values of Serve's. It lives through a drain,
// and ends when what is left is cut.
func TestConnContext(t *testing.T) {
	type key struct{}
	kinds := map[string]func(use func(context.Context)) handler.Handler{
		"frames": func(use func(context.Context)) handler.Handler {
			return &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
				use(c.Context())
				return nil
			}}
		},
		"func": func(use func(context.Context)) handler.Handler {
			return handler.Func(func(ctx context.Context, conn net.Conn) {
				conn.Read(make([]byte, 10))
				use(ctx)
			})
		},
		"type": func(use func(context.Context)) handler.Handler {
			return &closer{handle: func(ctx context.Context, conn net.Conn) {
				conn.Read(make([]byte, 10))
				use(ctx)
			}}
		},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
				began, begin := make(chan context.Context), time.Time{}
				var lived time.Duration
				srv := &tcp.Server{Config: tcp.Config{DrainTimeout: 3 * time.Second}}
				srv.Handler = kind(func(ctx context.Context) {
					began <- ctx
					<-ctx.Done()
					lived = time.Since(begin)
				})
				ln := tcptest.Listen()
				result := serve(parent, t, srv, ln)
				send(t, join(t, ln), "a\n")
				ctx := <-began
				if ctx.Value(key{}) != "value" {
					t.Error("the value is lost")
				}
				begin = time.Now()
				cancel()
				result()
				if lived < 3*time.Second || lived > 3500*time.Millisecond {
					t.Errorf("the context ended %v after the drain began, want 3s", lived)
				}
			})
		})
	}
}

func TestCloseResets(t *testing.T) {
	g := newGate(t)
	s := start(t, tcp.Config{}, echoAfter(g.work))
	idle, busy := dial(t, "tcp", s.Addr), dial(t, "tcp", s.Addr)
	exchange(t, idle, "a\n")
	send(t, busy, "hold\n")
	testutil.Await(t, "the line", g.holding)
	closed := make(chan error, 1)
	go func() { closed <- s.TCP.Close() }()
	receiveReset(t, busy)
	g.open()
	if err := testutil.Await(t, "the end of Close", closed); err != nil {
		t.Errorf("close: %v", err)
	}
	// The idle one had its FIN, or its reset, whichever was first.
	if _, err := io.ReadAll(idle); err != nil && !isReset(err) {
		t.Errorf("the idle client reads %v", err)
	}
}

// The second Shutdown has less patience, and cuts the first one short: also
// where the handler does not care.
func TestTwoShutdowns(t *testing.T) {
	for _, cares := range []bool{true, false} {
		t.Run(fmt.Sprintf("handler cares %t", cares), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, over := make(chan struct{}), make(chan struct{})
				defer close(over)
				srv := &tcp.Server{Handler: &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
					close(began)
					if cares {
						<-c.Context().Done()
					} else {
						<-over
					}
					return nil
				}}}
				ln := tcptest.Listen()
				result := serve(t.Context(), t, srv, ln)
				busy := join(t, ln)
				send(t, busy, "a\n")
				<-began
				begin := time.Now()
				var both sync.WaitGroup
				both.Go(func() { srv.Shutdown(within(t, time.Hour)) })
				both.Go(func() {
					if err := srv.Shutdown(within(t, time.Second)); !errors.Is(err, tcp.ErrCut) {
						t.Errorf("the second shutdown: %v", err)
					}
				})
				receiveReset(t, busy)
				both.Wait()
				result()
				if took := time.Since(begin); took < time.Second || took > 2*time.Second {
					t.Errorf("both took %v, want 1s", took)
				}
				if d := srv.Drained(); d.Idle != 0 || d.Finished != 0 || d.Cut != 1 {
					t.Errorf("drained %+v", d)
				}
			})
		})
	}
}

// Two that cut at about the same time count each client once.
func TestTwoShutdownsCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t)
		srv := &tcp.Server{Handler: echoAfter(g.work)}
		ln := tcptest.Listen()
		result := serve(t.Context(), t, srv, ln)
		send(t, join(t, ln), "hold\n")
		<-g.holding
		var both sync.WaitGroup
		for _, bound := range []time.Duration{time.Second, 1100 * time.Millisecond} {
			both.Go(func() {
				if err := srv.Shutdown(within(t, bound)); !errors.Is(err, tcp.ErrCut) {
					t.Errorf("shutdown within %v: %v", bound, err)
				}
			})
		}
		both.Wait()
		if d := srv.Drained(); d.Idle != 0 || d.Finished != 0 || d.Cut != 1 {
			t.Errorf("drained %+v, there was one client", d)
		}
		g.open()
		result()
	})
}

// Close after Shutdown does not change what Drained returns.
func TestDrainedStays(t *testing.T) {
	handlers := map[string]func(work func(string)) handler.Handler{
		"frames": func(work func(string)) handler.Handler { return echoAfter(work) },
		"type":   func(work func(string)) handler.Handler { return echoingType(work) },
	}
	for name, build := range handlers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t)
				srv := &tcp.Server{Handler: build(g.work)}
				ln := tcptest.Listen()
				result := serve(t.Context(), t, srv, ln)
				conn := join(t, ln)
				send(t, conn, "hold\n")
				<-g.holding
				time.AfterFunc(2*time.Second, g.open)
				shutdown(t, srv)
				receiveAll(t, conn, "hold\n")
				result()
				before := srv.Drained()
				if before.Finished != 1 || before.Took < 2*time.Second {
					t.Errorf("drained %+v", before)
				}
				srv.Close()
				if after := srv.Drained(); after != before {
					t.Errorf("drained %+v after Close, it was %+v", after, before)
				}
			})
		})
	}
}

// closer is a handler of the plainest kind: Handle and Close.
type closer struct {
	handle func(ctx context.Context, conn net.Conn)
	close  func() error
}

func (c *closer) Handle(ctx context.Context, conn net.Conn) { c.handle(ctx, conn) }

func (c *closer) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// echoingType serves one line a connection.
func echoingType(work func(string)) handler.Handler {
	return &closer{handle: func(_ context.Context, conn net.Conn) {
		defer conn.Close()
		line := make([]byte, 100)
		n, err := conn.Read(line)
		if err != nil {
			return
		}
		work(strings.TrimSuffix(string(line[:n]), "\n"))
		conn.Write(line[:n])
	}}
}

func TestHandlerWithOnlyClose(t *testing.T) {
	const drain = 5 * time.Second
	why := errors.New("why not")
	tests := []struct {
		name   string
		close  func(clients *sync.WaitGroup) error
		client time.Duration // how long the client's line takes
		took   time.Duration
		cut    int
		err    error // what Shutdown's is; nil for none
	}{
		{"fast close, fast client", func(*sync.WaitGroup) error { return nil },
			time.Second, time.Second, 0, nil},
		{"fast close, slow client", func(*sync.WaitGroup) error { return nil },
			time.Hour, drain, 1, tcp.ErrCut},
		{"slow close, fast client", func(*sync.WaitGroup) error { time.Sleep(3 * time.Second); return nil },
			time.Second, 3 * time.Second, 0, nil},
		{"close waits, fast client", func(clients *sync.WaitGroup) error { clients.Wait(); return nil },
			time.Second, time.Second, 0, nil},
		{"close waits, slow client", func(clients *sync.WaitGroup) error { clients.Wait(); return nil },
			time.Hour, drain, 1, tcp.ErrCut},
		{"close fails", func(*sync.WaitGroup) error { return why },
			time.Second, time.Second, 0, why},
		{"close hangs, no client", func(*sync.WaitGroup) error { time.Sleep(time.Hour); return nil },
			0, drain, 0, errors.New("does not return")},
		{"close hangs, slow client", func(*sync.WaitGroup) error { time.Sleep(time.Hour); return nil },
			time.Hour, drain, 1, tcp.ErrCut},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var clients sync.WaitGroup
				began := make(chan struct{}, 1)
				h := &closer{
					handle: func(ctx context.Context, conn net.Conn) {
						defer conn.Close()
						defer clients.Done()
						began <- struct{}{}
						select {
						case <-time.After(test.client):
							io.WriteString(conn, "done\n")
						case <-ctx.Done():
							conn.Read(make([]byte, 1)) // until it is cut
						}
					},
					close: func() error { return test.close(&clients) },
				}
				srv := &tcp.Server{Handler: h}
				ln := tcptest.Listen()
				result := serve(t.Context(), t, srv, ln)
				var conn net.Conn
				if test.client > 0 {
					clients.Add(1)
					conn = join(t, ln)
					<-began
				}
				begin := time.Now()
				err := srv.Shutdown(within(t, drain))
				took := time.Since(begin)
				result()
				switch {
				case test.err == nil:
					if err != nil {
						t.Errorf("shutdown: %v", err)
					}
				case err == nil || !errors.Is(err, test.err) && !strings.Contains(err.Error(), test.err.Error()):
					t.Errorf("shutdown: %v, want %v", err, test.err)
				}
				if took < test.took || took > test.took+time.Second {
					t.Errorf("shutdown took %v, want %v", took, test.took)
				}
				if d := srv.Drained(); d.Cut != test.cut {
					t.Errorf("drained %+v, want cut %d", d, test.cut)
				}
				switch {
				case conn == nil:
				case test.cut > 0:
					receiveReset(t, conn)
				default:
					receiveAll(t, conn, "done\n")
				}
				time.Sleep(time.Hour) // for a Close that hangs
			})
		})
	}
}

func TestForgottenClose(t *testing.T) {
	h := &closer{handle: func(_ context.Context, conn net.Conn) { io.WriteString(conn, "bye\n") }}
	s := start(t, tcp.Config{}, h)
	receiveAll(t, dial(t, "tcp", s.Addr), "bye\n")
	eventually(t, "the connection's end", func() bool { return s.TCP.Stats().Active == 0 })
}

func TestPanicCostsOneConnection(t *testing.T) {
	kinds := map[string]handler.Handler{
		"frames": echoAfter(panicIfAsked),
		"func":   handler.Func(echoingType(panicIfAsked).Handle),
		"type":   echoingType(panicIfAsked),
	}
	for name, h := range kinds {
		t.Run(name, func(t *testing.T) {
			log := &journal{}
			s := start(t, tcp.Config{Log: log.logger()}, h)
			other := dial(t, "tcp", s.Addr)
			conn := dial(t, "tcp", s.Addr)
			send(t, conn, "panic\n")
			receiveAll(t, conn, "")
			conn.Close()
			exchange(t, other, "a\n")
			exchange(t, dial(t, "tcp", s.Addr), "b\n")
			eventually(t, "the log line", func() bool { return len(log.find("handler panicked")) == 1 })
			line := log.find("handler panicked")[0]
			if line["level"] != "ERROR" || line["panic"] != "as asked" || line["peer"] != conn.LocalAddr().String() ||
				!strings.Contains(line["stack"], "panicIfAsked") {
				t.Errorf("logged %v", line)
			}
			if n := s.TCP.Stats().Panics; n != 1 {
				t.Errorf("%d panics counted", n)
			}
		})
	}
}

func panicIfAsked(line string) {
	if line == "panic" {
		panic("as asked")
	}
}

// A handler that ends its goroutine is a failure of the same kind.
func TestGoexitCostsOneConnection(t *testing.T) {
	exit := func(line string) {
		if line == "exit" {
			runtime.Goexit()
		}
	}
	kinds := map[string]handler.Handler{
		"frames": echoAfter(exit),
		"type":   echoingType(exit),
	}
	for name, h := range kinds {
		t.Run(name, func(t *testing.T) {
			log := &journal{}
			s := start(t, tcp.Config{Log: log.logger()}, h)
			other, conn := dial(t, "tcp", s.Addr), dial(t, "tcp", s.Addr)
			send(t, conn, "exit\n")
			receiveAll(t, conn, "")
			conn.Close()
			exchange(t, other, "a\n")
			other.Close()
			eventually(t, "no clients", func() bool { return s.TCP.Stats().Active == 0 })
			if st := s.TCP.Stats(); st.Accepted != 2 || st.Panics != 1 {
				t.Errorf("stats %+v", st)
			}
			if lines := log.find("handler panicked"); len(lines) != 1 || lines[0]["panic"] != "runtime.Goexit" {
				t.Errorf("logged %v", lines)
			}
		})
	}
}

// Methods may be called at any time, before Serve too.
func TestUnservedServer(t *testing.T) {
	srv := tcp.Server{Config: tcp.Config{Log: new(journal).logger()}} // the default log may have dropped some
	if s := srv.Stats(); s != (tcp.Stats{}) {
		t.Errorf("stats %+v", s)
	}
	if d := srv.Drained(); d != (tcp.DrainStats{}) {
		t.Errorf("drained %+v", d)
	}
}
