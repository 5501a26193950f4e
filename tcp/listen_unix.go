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

// hasSocketFiles tells that the files of unix sockets have permissions and a group.
const hasSocketFiles = true

// listenUnix listens on path, and gives the socket file what f says. It replaces the socket
// file of a dead server.
//
// It locks the folder meanwhile. Of two servers that start at once, the second must not
// remove the socket that the first has just made, also if the first has bound it and does
// not listen yet. flock(2) works on a folder, and leaves no file behind. If there is no
// folder, listening reports that.
func listenUnix(ctx context.Context, lc *net.ListenConfig, path string, f socketFile) (net.Listener, error) {
	if folder, err := os.Open(filepath.Dir(path)); err == nil {
		defer folder.Close()
		lock(folder)
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && isStale(ctx, path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		ln, err = lc.Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := f.setOwner(path); err != nil {
		ln.Close()
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: ln.Addr(), Err: err}
	}
	return ownUnix(ln, path), nil
}

// hide lets the file of a socket that is not bound yet have no permissions. On Linux the file
// gets those of the socket (unix_bind in net/unix/af_unix.c), so that nobody connects before
// setOwner; other systems refuse, and have that moment.
func (f *socketFile) hide(fd uintptr) {
	if f.hasMode {
		_ = unix.Fchmod(int(fd), 0)
	}
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
