//go:build unix

package tcp

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// replaceStale listens on path in the place of a server that is dead. err is
// what listening there gave, and what is returned if path is not such a one's.
//
// The folder is locked from the look to the listen: of two servers that start
// at once, the second must not take away the socket that the first has just
// made (flock(2) works on a folder, and leaves no file behind).
func replaceStale(ctx context.Context, lc *net.ListenConfig, path string, err error) (net.Listener, error) {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return nil, err
	}
	folder, openErr := os.Open(filepath.Dir(path))
	if openErr != nil {
		return nil, err
	}
	defer folder.Close()
	if unix.Flock(int(folder.Fd()), unix.LOCK_EX) != nil || !isStale(ctx, path) {
		return nil, err
	}
	if removeErr := os.Remove(path); removeErr != nil {
		return nil, errors.Join(err, removeErr)
	}
	return lc.Listen(ctx, "unix", path)
}

// isStale reports whether path is a socket that nobody listens on: only then
// does connect(2) give ECONNREFUSED.
func isStale(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
