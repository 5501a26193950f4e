//go:build unix

package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// leaveStale makes the socket file of a server that was killed.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func listenUnix(path string) (net.Listener, error) {
	return tcp.Listen(context.Background(), &tcp.Config{Network: "unix", Address: path})
}

func TestUnixSocket(t *testing.T) {
	befores := map[string]func(t *testing.T, path string){
		"new path":     func(*testing.T, string) {},
		"stale socket": leaveStale,
	}
	for name, before := range befores {
		t.Run(name, func(t *testing.T) {
			path := testutil.SocketPath(t)
			before(t, path)
			ln, err := listenUnix(path)
			if err != nil {
				t.Fatal(err)
			}
			srv := &tcp.Server{Handler: echo()}
			result := serve(context.Background(), t, srv, ln)
			conn := dial(t, "unix", path)
			exchange(t, conn, "a\n")
			shutdown(t, srv)
			receiveAll(t, conn, "")
			if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
				t.Errorf("serve: %v", err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket file is left behind (%v)", err)
			}
		})
	}
}

func TestUnixSocketOfALiveServer(t *testing.T) {
	path := testutil.SocketPath(t)
	ln, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &tcp.Server{Handler: greeting()}
	result := serve(context.Background(), t, srv, ln)
	conn := dial(t, "unix", path)
	receive(t, conn, "welcome\n")
	for range 20 {
		second, err := listenUnix(path)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), path) {
			t.Errorf("listen: %v", err)
		}
		if second != nil {
			second.Close()
		}
	}
	exchange(t, conn, "a\n")
	receive(t, dial(t, "unix", path), "welcome\n")
	shutdown(t, srv)
	result()
}

func TestUnixSocketLeavesOtherFilesAlone(t *testing.T) {
	makes := map[string]func(t *testing.T, path string) error{
		"regular file": func(_ *testing.T, path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"folder":       func(_ *testing.T, path string) error { return os.Mkdir(path, 0o700) },
		"pipe":         func(_ *testing.T, path string) error { return syscall.Mkfifo(path, 0o600) },
		"dead link":    func(_ *testing.T, path string) error { return os.Symlink("nowhere", path) },
		"link to a stale socket": func(t *testing.T, path string) error {
			leaveStale(t, path+"2")
			return os.Symlink("s2", path)
		},
	}
	for name, make := range makes {
		t.Run(name, func(t *testing.T) {
			path := testutil.SocketPath(t)
			if err := make(t, path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := listenUnix(path)
			if ln != nil {
				ln.Close()
			}
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("listen: %v", err)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Errorf("the file was touched (%v)", err)
			}
		})
	}
}

func TestUnixSocketInNoFolder(t *testing.T) {
	path := filepath.Join(testutil.SocketPath(t), "no", "such", "folder")
	if _, err := listenUnix(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("listen: %v", err)
	}
}

// Of servers that start at the same moment exactly one gets the path, and
// clients of that path get to it.
func TestUnixSocketHasOneWinner(t *testing.T) {
	t.Parallel()
	const rounds = 1000
	limit := 3 * time.Second // to see that a server is dead takes its time
	if testutil.Reduced() {
		limit /= 10
	}
	befores := map[string]func(t *testing.T, path string){
		"new path":     func(*testing.T, string) {},
		"stale socket": leaveStale,
	}
	for name, before := range befores {
		for _, starters := range []int{2, 4} {
			t.Run(fmt.Sprintf("%s, %d servers", name, starters), func(t *testing.T) {
				path := testutil.SocketPath(t)
				end := time.Now().Add(limit)
				for round := 0; round < rounds && time.Now().Before(end); round++ {
					before(t, path)
					winners := race(t, path, starters)
					switch {
					case len(winners) != 1:
						t.Errorf("round %d: %d of %d servers listen on one path", round, len(winners), starters)
					case !reaches(t, path, winners[0]):
						t.Errorf("round %d: the path does not lead to the winner", round)
					}
					for _, ln := range winners {
						ln.Close()
					}
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// race lets n servers start at the same time and returns those that listen.
func race(t *testing.T, path string, n int) (winners []net.Listener) {
	var mu sync.Mutex
	var g sync.WaitGroup
	begin := make(chan struct{})
	for range n {
		g.Go(func() {
			<-begin
			ln, err := listenUnix(path)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				winners = append(winners, ln)
			} else if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("listen: %v", err)
			}
		})
	}
	close(begin)
	g.Wait()
	return winners
}

// reaches reports whether a client of path gets to ln.
func reaches(t *testing.T, path string, ln net.Listener) bool {
	client, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		t.Errorf("dial: %v", err)
		return false
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(patience))
	io.WriteString(client, "it is me\n")
	// The losers have tried to connect: their connections come first. They are closed, but a
	// process that is being started by another test may have a copy for a moment.
	for {
		server, err := ln.Accept()
		if err != nil {
			return false
		}
		server.SetDeadline(time.Now().Add(patience))
		line := make([]byte, 9)
		n, err := io.ReadFull(server, line)
		server.Close()
		if err == nil {
			return string(line[:n]) == "it is me\n"
		}
	}
}
