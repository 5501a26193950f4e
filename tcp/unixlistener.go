//go:build unix && !aix

package tcp

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// unixListener is a listener on a socket file. Close removes the file only if it is still the
// one that the listener has made: another server may have put its own in its place.
type unixListener struct {
	*net.UnixListener
	path  string
	made  os.FileInfo // of the file
	close sync.Once
}

// ownUnix returns ln, which was bound to path just now, as the owner of its file. An abstract
// socket has no file.
func ownUnix(ln net.Listener, path string) net.Listener {
	bound, ok := ln.(*net.UnixListener)
	if !ok || path[0] == '@' {
		return ln
	}
	bound.SetUnlinkOnClose(false)
	made, err := os.Lstat(path)
	if err != nil {
		return ln // it is gone already
	}
	return &unixListener{UnixListener: bound, path: path, made: made}
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	l.close.Do(l.unlink)
	return l.UnixListener.Close()
}

// unlink removes the file, if it is still the listener's. It locks the folder, as listenUnix
// does, so that no server of this package replaces the file in between.
func (l *unixListener) unlink() {
	if folder, err := os.Open(filepath.Dir(l.path)); err == nil {
		defer folder.Close()
		lock(folder)
	}
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
		os.Remove(l.path)
	}
}

// setOwner gives the socket file at path its group and its permissions, in this order.
func (f *socketFile) setOwner(path string) error {
	if f.hasGroup {
		if err := os.Lchown(path, -1, f.group); err != nil {
			return f.refuse("tcp.socket_group", "SocketGroup", f.groupName, err)
		}
	}
	if f.hasMode {
		if err := os.Chmod(path, f.mode); err != nil {
			return f.refuse("tcp.socket_mode", "SocketMode", fmt.Sprintf("%04o", f.mode), err)
		}
	}
	return nil
}

func (*socketFile) refuse(key, name, value string, err error) error {
	return (&setting{key: key, field: name, given: value}).refuse(err)
}
