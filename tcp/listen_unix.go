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

// listenUnix listens on path, in the place of a server that is dead if need be.
//
// The folder is locked meanwhile: of two servers that start at once, the second
// must not take away the socket that the first has just made, nor the one that
// it has bound and does not listen on yet. flock(2) works on a folder, and
// leaves no file behind. Where there is no folder to lock, listening will say
// what is wrong.
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

// lock locks folder, or gives up after a second: it is another's lock then, and
// a server that does not start is worse than the race.
func lock(folder *os.File) {
	for range 100 {
		if unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isStale reports whether path is a socket that nobody listens on: connect(2)
// gives ECONNREFUSED. It also does so, on the BSDs, while a live server's queue
// is full, and anywhere between bind and listen; so ask more than once.
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
