//go:build unix && !aix

package tcp

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listenUnix listens on path. It replaces the socket file of a dead server.
//
// It locks the folder meanwhile. Of two servers that start at once, the second must not
// remove the socket that the first has just made, also if the first has bound it and does
// not listen yet. flock(2) works on a folder, and leaves no file behind. If there is no
// folder, listening reports that.
func listenUnix(ctx context.Context, lc *net.ListenConfig, path string) (net.Listener, error) {
	if folder, err := os.Open(filepath.Dir(path)); err == nil {
		defer folder.Close()
		lock(folder)
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) || !isStale(ctx, path) {
		return ln, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return lc.Listen(ctx, "unix", path)
}

// lock locks folder. It gives up after a second: a server that does not start is worse
// than the race.
func lock(folder *os.File) {
	for range 100 {
		if unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isStale reports whether no server listens on the socket path: then connect(2) fails
// with ECONNREFUSED. It also does so between bind and listen of a server, and on the BSDs
// while a server's queue is full. So isStale tries more than once.
func isStale(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	for range 3 {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}
