package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/proxy"
)

// pool is what the first upstream's pool looks like.
func (s *served) pool() proxy.PoolStats { return s.proxy.Upstreams()[0].Pool }

// awaitPool waits until n connections wait.
func (s *served) awaitPool(n int) {
	s.t.Helper()
	eventually(s.t, "the pool", func() bool { return s.pool().Idle == n })
}

// Connections are made before the first client comes, and each that is taken is
// replaced.
func TestPool(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 3}})
		s.awaitPool(3)
		client := s.connect()
		send(t, client, "x")
		eventually(t, "the pool", func() bool { p := s.pool(); return p.Hits == 1 && p.Misses == 0 && p.Idle == 3 })
		conn, err := firstToSpeak(t, s, 4)
		if err != nil {
			t.Fatal(err)
		}
		receive(t, conn, "x")
	})
}

// What an upstream says first is there for the client, on a connection that waited
// too.
func TestPoolOfGreeters(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 1}})
		send(t, s.accept(), "220 ready\r\n")
		s.awaitPool(1)
		receive(t, s.connect(), "220 ready\r\n")
		if p := s.pool(); p.Hits != 1 {
			t.Errorf("%+v, want a hit", p)
		}
	})
}

// An upstream that restarts while connections wait: they are found dead without a byte
// sent on them, and no client sees an error.
func TestPoolOutlivesTheUpstream(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		const size = 50
		for name, end := range map[string]func(net.Conn) error{"FIN": net.Conn.Close, "RST": netconn.Reset} {
			t.Run(name, func(t *testing.T) {
				s := tr.serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: size}})
				old := newLineServer(s.upstream)
				s.awaitPool(size)
				eventually(t, "the pool", func() bool { return old.count() == size })
				old.endAll(end) // its listener stays, as with a restart that hands it over
				for range 20 {
					client := s.connect()
					send(t, client, "hello\n")
					receive(t, client, "hello\n")
					client.Close()
				}
				if p := s.pool(); p.Dead < size/2 {
					t.Errorf("%+v, want the old connections found dead", p)
				}
			})
		}
	})
}

// lineServer echoes lines until its listener is closed.
type lineServer struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newLineServer(ln net.Listener) *lineServer {
	s := &lineServer{conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					io.WriteString(conn, line)
				}
			}()
		}
	}()
	return s
}

func (s *lineServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// endAll ends the connections there are.
func (s *lineServer) endAll(end func(net.Conn) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		end(conn)
	}
}

// A connection that has waited for long enough is replaced.
func TestPoolExpires(t *testing.T) {
	s := transports[0].serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 1, MaxIdle: 50 * time.Millisecond}})
	first := s.accept()
	receiveAll(t, first, "")
	s.accept()
	if p := s.pool(); p.Expired == 0 || p.Dead != 0 {
		t.Errorf("%+v, want one expired", p)
	}
}

// With reuse, a connection whose client has left after the reply has the next client;
// the upstream sees no end in between.
func TestReuse(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{
			Pool:   proxy.PoolConfig{Size: 1, Reuse: true, ReuseQuiet: 50 * time.Millisecond},
			Health: proxy.HealthConfig{Fall: 1 << 20},

			IdleTimeout: time.Hour,
		})
		upstream := s.accept()
		s.awaitPool(1)
		s.upstream.Close() // a slow client's connection is not replaced meanwhile
		for i := range 5 {
			client := s.connect()
			request, reply := fmt.Sprintf("get %d\n", i), fmt.Sprintf("value %d\n", i)
			send(t, client, request)
			receive(t, upstream, request)
			send(t, upstream, reply)
			receive(t, client, reply)
			closeWrite(t, client)
			receiveAll(t, client, "")
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN {
				t.Errorf("by %s, %s", r.By, r.Reason)
			}
			// Used ones have a rest.
			eventually(t, "the pool", func() bool { p := s.pool(); return p.Idle == 1 && p.Oldest > 60*time.Millisecond })
		}
		if p := s.pool(); p.Reused != 5 || p.Hits != 5 || p.Misses != 0 || p.Dead != 0 {
			t.Errorf("%+v, want the same connection each time", p)
		}
	})
}

// A client that has left, and is slow to take its reply, sees its end all the same.
func TestReuseOfASlowReader(t *testing.T) {
	t.Parallel()
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{IdleTimeout: time.Hour, Pool: proxy.PoolConfig{Size: 1, Reuse: true, ReuseQuiet: time.Second}})
		upstream := s.accept()
		s.awaitPool(1)
		client := s.connect()
		send(t, client, "get")
		receive(t, upstream, "get")
		n := fill(t, upstream)
		closeWrite(t, client)
		time.Sleep(100 * time.Millisecond) // for the FIN to be read
		if got, err := io.Copy(io.Discard, client); got != n || err != nil {
			t.Errorf("the client gets %d of %d bytes, then %v", got, n, err)
		}
		if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN {
			t.Errorf("by %s, %s", r.By, r.Reason)
		}
	})
}

// What is left of one client's is not for the next: such connections are not used
// again.
func TestReuseOfClean(t *testing.T) {
	// Each has the client leave the upstream with a connection that must not have
	// another client.
	leave := map[string]func(t *testing.T, client, upstream net.Conn){
		"before the reply": func(t *testing.T, client, upstream net.Conn) {
			send(t, client, "get")
			receive(t, upstream, "get")
			closeWrite(t, client)
			receiveAll(t, upstream, "") // so a plain FIN
			send(t, upstream, "value")
			upstream.Close()
			receiveAll(t, client, "value")
		},
		"by RST": func(t *testing.T, client, upstream net.Conn) {
			netconn.Reset(client)
			receiveReset(t, upstream)
		},
		"after the upstream's FIN": func(t *testing.T, client, upstream net.Conn) {
			closeWrite(t, upstream)
			receiveAll(t, client, "")
			client.Close()
			receiveAll(t, upstream, "")
		},
		"in the middle of a reply": func(t *testing.T, client, upstream net.Conn) {
			closeWrite(t, client)
			receiveAll(t, client, "")
			send(t, upstream, "the rest")
		},
	}
	for _, tr := range []transport{transports[0], transports[3], named("tcp to TLS"), named("tcp to TLS, by goroutine")} {
		for name, leave := range leave {
			t.Run(tr.name+", "+name, func(t *testing.T) {
				t.Parallel()
				s := tr.serve(t, proxy.Config{IdleTimeout: time.Hour, Pool: proxy.PoolConfig{Size: 1, Reuse: true}})
				old := s.accept()
				s.awaitPool(1)
				client := s.connect()
				send(t, client, ">")
				receive(t, old, ">")
				send(t, old, "<")
				receive(t, client, "<")
				leave(t, client, old)
				s.records.Next(t)
				// There is a fresh one instead, or the second: the first has no place if
				// the old one comes back while it is made.
				newLineServer(s.upstream)
				eventually(t, "the pool", func() bool { p := s.pool(); return p.Idle == 1 && p.Dead == p.Reused })
				next := s.connect()
				send(t, next, "next\n")
				receive(t, next, "next\n")
			})
		}
	}
}

// Many clients, one after the other and side by side, each with replies of its own:
// nobody gets what is another's.
func TestReuseUnderLoad(t *testing.T) {
	for _, tr := range []transport{transports[0], transports[3], named("tcp to TLS"), named("tcp to TLS, by goroutine")} {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := tr.serve(t, proxy.Config{IdleTimeout: time.Hour, Pool: proxy.PoolConfig{Size: 4, Reuse: true}})
			newLineServer(s.upstream)
			var wg sync.WaitGroup
			for worker := range 8 {
				wg.Go(func() {
					for i := range 50 {
						line := fmt.Sprintf("%d %d\n", worker, i)
						conn, err := s.dial()
						if err != nil {
							t.Error(err)
							return
						}
						conn.SetDeadline(time.Now().Add(patience))
						io.WriteString(conn, line)
						if got, err := bufio.NewReader(conn).ReadString('\n'); got != line {
							t.Errorf("got %q, %v; want %q", got, err, line)
						}
						conn.Close()
					}
				})
			}
			wg.Wait()
			if p := s.pool(); p.Reused == 0 {
				t.Errorf("%+v, want some used again", p)
			}
		})
	}
}
