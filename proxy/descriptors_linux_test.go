package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// Out of descriptors, connections that wait make room for a client, whether it takes one
// of them, which needs a further descriptor for a moment, or is connected anew.
func TestPoolMakesRoom(t *testing.T) {
	if !isAlone(t) {
		return
	}
	for waiting, name := range []string{"at another upstream", "at the one in turn"} {
		t.Run(name, func(t *testing.T) {
			var listeners []net.Listener
			var names []string
			for range 2 {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				listeners, names = append(listeners, ln), append(names, ln.Addr().String())
			}
			x := &Proxy{Config: Config{Upstreams: names, Pool: PoolConfig{Size: 3}}}
			defer x.Close()
			ended := make(chan handler.Record, 1)
			x.OnRecord = func(r handler.Record) { ended <- r }
			x.init()
			x.started.Do(func() {}) // nobody else fills the pools
			pool := &x.settings.Load().upstreams[waiting].pool
			for range 3 {
				conn, err := net.Dial("tcp", names[waiting])
				if err != nil {
					t.Fatal(err)
				}
				pool.put(conn, false, 0)
			}
			x.loops.Group() // has its own
			client, server := testutil.Pair(t)
			fd, err := netconn.Dup(server)
			server.Close()
			if err != nil {
				t.Fatal(err)
			}
			free := useUpDescriptors(t)
			defer free()
			x.Accept(nobody{fd: fd})
			for pool.stats().Idle > 1 {
				select {
				case r := <-ended:
					t.Fatalf("the client is gone: %s, %v", r.Reason, r.Err)
				case <-time.After(time.Millisecond):
				}
			}
			free()
			got := make(chan string, 10)
			for _, ln := range listeners {
				go readAll(ln, got)
			}
			io.WriteString(client, "x")
			client.Close()
			for {
				select {
				case s := <-got:
					if s == "x" {
						return
					}
				case <-time.After(10 * time.Second):
					t.Fatal("no upstream has the client's bytes")
				}
			}
		})
	}
}

// readAll accepts connections and tells what comes on each.
func readAll(ln net.Listener, got chan<- string) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			b, _ := io.ReadAll(conn)
			got <- string(b)
		}()
	}
}

// useUpDescriptors leaves none, until free is called.
func useUpDescriptors(t *testing.T) (free func()) {
	t.Helper()
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: usual.Max}); err != nil {
		t.Fatal(err)
	}
	var used []int
	for {
		fd, err := unix.Dup(0)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, fd)
	}
	return sync.OnceFunc(func() {
		for _, fd := range used {
			unix.Close(fd)
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &usual)
	})
}

// nobody is a client that no server knows.
type nobody struct {
	handler.Accepted
	fd int
}

func (nobody) Network() string              { return "tcp" }
func (nobody) LocalAddr() net.Addr          { return &net.TCPAddr{} }
func (nobody) RemoteAddr() net.Addr         { return &net.TCPAddr{} }
func (nobody) TLS() *tls.Conn               { return nil }
func (nobody) CloseMode() handler.CloseMode { return handler.CloseDefault }
func (nobody) Memory() *handler.Memory      { return nil }
func (n nobody) Socket() (int, bool)        { return n.fd, true }
func (nobody) Done()                        {}
