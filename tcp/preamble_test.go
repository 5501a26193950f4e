package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// opening is how a client begins that has more to do than to connect.
type opening struct {
	name  string
	cfg   tcp.Config
	begin func(net.Conn) net.Conn
}

func openings(t *testing.T) []opening {
	t.Helper()
	a := testutil.NewAuthority(t)
	required := trusting(tcp.ProxyProtocolRequired)
	required.ProxyProtocolTrusted = []string{"0.0.0.0/0", "::/0"} // in memory clients are 192.0.2.0/24 or the like
	both := tlsFiles(t, a)
	both.ProxyProtocol, both.ProxyProtocolTrusted = required.ProxyProtocol, required.ProxyProtocolTrusted
	header := func(conn net.Conn) net.Conn {
		io.WriteString(conn, formatted(t, 1, from4, to4))
		return conn
	}
	client, now := a.Client("first"), time.Now()
	client.Time = func() time.Time { return now } // a bubble's is long before the certificate's
	secure := func(conn net.Conn) net.Conn { return tls.Client(conn, client) }
	return []opening{
		{"PROXY", required, header},
		{"TLS", tlsFiles(t, a), secure},
		{"PROXY and TLS", both, func(conn net.Conn) net.Conn { return secure(header(conn)) }},
	}
}

// inMemory runs test in a bubble, whose time is exact, for each way to begin and each
// kind of handler.
func inMemory(t *testing.T, test func(t *testing.T, o opening, s *tcptest.Server)) {
	for _, o := range openings(t) {
		for name, h := range map[string]func() handler.Handler{
			"frames": func() handler.Handler { return greeting() },
			"plain": func() handler.Handler {
				return handler.Func(func(_ context.Context, conn net.Conn) {
					io.WriteString(conn, "welcome\n")
					io.Copy(conn, conn)
				})
			},
		} {
			t.Run(o.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := tcptest.NewUnstartedServer(h())
					s.TCP.Config = o.cfg
					s.Serve(tcptest.Listen())
					defer s.Close()
					test(t, o, s)
				})
			})
		}
	}
}

// A client that has connected before the stop, and sends its header or makes its handshake
// a moment later, is served.
func TestShutdownServesPreambles(t *testing.T) {
	inMemory(t, func(t *testing.T, o opening, s *tcptest.Server) {
		conn := s.Dial()
		defer conn.Close()
		synctest.Wait() // it is accepted, and waited for
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(within(t, time.Minute)) }()
		time.Sleep(150 * time.Millisecond)
		receiveAll(t, o.begin(conn), "welcome\n")
		if err := <-done; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		stats, drained := s.TCP.Stats(), s.TCP.Drained()
		if stats.Accepted != 1 || stats.Active != 0 || stats.RefusedHeader != 0 || stats.FailedHandshakes != 0 {
			t.Errorf("%+v", stats)
		}
		if drained.Idle+drained.Finished != 1 || drained.Cut != 0 {
			t.Errorf("%+v", drained)
		}
	})
}

// One that says nothing is waited for a moment, once for all of them.
func TestShutdownEndsSilentPreambles(t *testing.T) {
	inMemory(t, func(t *testing.T, o opening, s *tcptest.Server) {
		for range 5 {
			conn := s.Dial()
			defer conn.Close()
		}
		synctest.Wait()
		if err := s.Shutdown(within(t, time.Minute)); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if took := s.TCP.Drained().Took; took < time.Second || took > 1200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if n := s.TCP.Stats().Active; n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// The moment for those is within the time that the drain has.
func TestShutdownBoundsPreambles(t *testing.T) {
	for _, bound := range []time.Duration{0, 50 * time.Millisecond} {
		inMemory(t, func(t *testing.T, o opening, s *tcptest.Server) {
			conn := s.Dial()
			defer conn.Close()
			synctest.Wait()
			s.Shutdown(within(t, bound))
			// A failed handshake is given 100 ms to hear of it, if the drain was not cut.
			if took := s.TCP.Drained().Took; took > bound+110*time.Millisecond {
				t.Errorf("bounded by %v, it took %v", bound, took)
			}
			if _, err := conn.Read(make([]byte, 100)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the client is still connected")
			}
		})
	}
}

// Without a preamble in progress there is no such moment.
func TestShutdownWithoutPreambles(t *testing.T) {
	took := func(cfg tcp.Config, begin func(net.Conn) net.Conn) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s := tcptest.NewUnstartedServer(greeting())
			s.TCP.Config = cfg
			s.Serve(tcptest.Listen())
			defer s.Close()
			conn := s.Dial()
			defer conn.Close()
			client := begin(conn)
			receive(t, client, "welcome\n")
			synctest.Wait()
			s.Shutdown(within(t, time.Minute))
			took = s.TCP.Drained().Took
		})
		return took
	}
	plain := took(tcp.Config{}, func(conn net.Conn) net.Conn { return conn })
	if plain > 20*time.Millisecond { // 10 are the look into the queue
		t.Errorf("plain: %v", plain)
	}
	for _, o := range openings(t) {
		d := took(o.cfg, o.begin)
		if (d - plain).Abs() > time.Millisecond { // for which a connection in memory may be looked at
			t.Errorf("%s: %v, plain %v", o.name, d, plain)
		}
	}
}

// The same over sockets, with the event loop, and for clients that are still in the
// kernel's queue when the server stops.
func TestShutdownServesPreamblesOverSockets(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for _, o := range openings(t) {
		for _, queued := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s queued %v", o.name, queued), func(t *testing.T) {
				// What the clients have for that is no long time, and the machine may be busy.
				for range 20 {
					served, late := stopInPreamble(t, o, queued)
					if served {
						return
					}
					if late < 50*time.Millisecond {
						t.Fatalf("a client that was only %v late is not served", late)
					}
				}
				t.Skip("the machine is too busy")
			})
		}
	}
}

// stopInPreamble stops a server whose clients have connected, and send nothing
// before it has left its accept loop. It reports whether all were served, and how long
// after the beginning of the stop they had sent all.
func stopInPreamble(t *testing.T, o opening, queued bool) (served bool, late time.Duration) {
	t.Helper()
	const many = 4
	accepting := make(chan struct{})
	var ln net.Listener = listenTCP(t)
	addr := ln.Addr().String()
	if queued {
		ln = &stopped{TCPListener: ln.(*net.TCPListener), accepting: accepting, interrupted: make(chan struct{})}
	}
	srv := &tcp.Server{Config: o.cfg, Handler: greeting()}
	result := serve(t.Context(), t, srv, ln)
	var conns []net.Conn
	for range many {
		conns = append(conns, dial(t, "tcp", addr))
	}
	if queued {
		<-accepting
	} else {
		eventually(t, "all are accepted", func() bool { return srv.Stats().Active == many })
	}
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(within(t, patience)) }()
	result()
	for i, conn := range conns {
		conns[i] = o.begin(conn)
	}
	got := make(chan string, many)
	for _, conn := range conns {
		go func() {
			if c, ok := conn.(*tls.Conn); ok {
				c.Handshake()
			}
			text, err := io.ReadAll(conn)
			got <- fmt.Sprintf("%q, %v", text, err)
		}()
	}
	served = true
	for range many {
		if text := testutil.Await(t, "the client's end", got); text != `"welcome\n", <nil>` {
			served = false
			t.Logf("a client got %s", text)
		}
	}
	late = time.Since(began)
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	return served, late
}
