package proxy

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// A timer that fires while its link is closing does not touch a connection that is
// back in its pool.
func TestLateCheck(t *testing.T) {
	client, server := testutil.Pair(t)
	far, near := testutil.Pair(t)
	x := New(Config{Upstreams: []string{"127.0.0.1:1"}, IdleTimeout: time.Nanosecond, Pool: PoolConfig{Size: 1, Reuse: true}})
	r := newRelay(x, server)
	r.reach(x.upstreams[0])
	r.upstream.conn = near
	r.timer = time.NewTimer(time.Hour)
	r.kept = true
	r.close()
	r.check() // later, as if it had waited for the lock
	conn := x.upstreams[0].pool.get()
	if conn == nil {
		t.Fatal("it is not in the pool")
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("write on a connection from the pool: %v", err)
	}
	if n, err := io.ReadFull(far, make([]byte, 1)); n != 1 {
		t.Errorf("read: %v", err)
	}
	client.Close()
	x.upstreams[0].pool.close()
}

// A relay that is slow to read, as on a busy machine, does not take that for the rest of
// an upstream, or for the quiet that a drain waits for.
func TestUnreadIsNoRest(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is unread cannot be told")
	}
	for name, begin := range map[string]func(*relay){
		"rest":  func(r *relay) { r.resting = r.begin },
		"drain": func(r *relay) { r.draining = true },
	} {
		t.Run(name, func(t *testing.T) {
			_, server := testutil.Pair(t)
			far, near := testutil.Pair(t)
			x := New(Config{
				Upstreams:  []string{"127.0.0.1:1"},
				DrainQuiet: time.Nanosecond,
				Pool:       PoolConfig{Size: 1, Reuse: true, Rest: time.Nanosecond},
			})
			defer x.Close()
			r := newRelay(x, server)
			r.upstream.conn = near
			r.timer = time.NewTimer(time.Hour)
			begin(r)
			far.Write([]byte("x"))
			for end := time.Now().Add(30 * time.Second); !netconn.Unread(near) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if r.check(); r.stopped {
				t.Error("stopped while there is something to be read")
			}
			near.Read(make([]byte, 1))
			if r.check(); !r.stopped {
				t.Error("not stopped when it was read")
			}
		})
	}
}

// stopping is a connection that has its link stopped between a Read and the Write of
// what was read.
type stopping struct {
	net.Conn
	stop func()
}

func (s *stopping) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.stop()
	}
	return n, err
}

// What was read and could not be written is not hidden behind a FIN.
func TestStopWithBytesInHand(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	x := New(Config{Upstreams: []string{ln.Addr().String()}})
	defer x.Close()
	client, server := testutil.Pair(t)
	r := newRelay(x, nil)
	r.client.conn = &stopping{server, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stopLocked()
	}}
	x.links.Add(r)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.serve()
	}()
	upstream, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	client.Write([]byte("hello"))
	if b, err := io.ReadAll(upstream); err == nil {
		t.Errorf("the upstream gets %q and a FIN", b)
	}
	<-done
}
