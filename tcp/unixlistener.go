//go:build unix && !aix

package tcp

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	stdatomic "sync/atomic"
	"syscall"
)

// unixListener is a listener on a socket file. Close removes the file only if it is still the
// one that the listener has made: another server may have put its own in its place.
type unixListener struct {
	*net.UnixListener
	path string
	made os.FileInfo    // of the file
	owns stdatomic.Bool // false if another listener on the same socket is to remove the file
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
	l := &unixListener{UnixListener: bound, path: path, made: made}
	l.setOwns(true)
	return l
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	if l.owns.Swap(false) {
		l.unlink()
	}
	return l.UnixListener.Close()
}

// hasFile implements fileOwner.
func (l *unixListener) hasFile() bool {
	now, err := os.Lstat(l.path)
	return err == nil && os.SameFile(now, l.made)
}

// heir implements fileOwner.
func (l *unixListener) heir(ln net.Listener) net.Listener {
	shared, ok := ln.(*net.UnixListener)
	if !ok {
		return ln
	}
	shared.SetUnlinkOnClose(false)
	return &unixListener{UnixListener: shared, path: l.path, made: l.made}
}

// setOwns implements fileOwner.
func (l *unixListener) setOwns(owns bool) { l.owns.Store(owns) }

// changeFile implements fileOwner.
func (l *unixListener) changeFile(f socketFile) (revert func(), err error) {
	was, err := os.Lstat(l.path)
	if err != nil {
		return nil, err
	}
	revert = func() {
		if owner, ok := was.Sys().(*syscall.Stat_t); ok && f.hasGroup {
			_ = os.Lchown(l.path, -1, int(owner.Gid))
		}
		if f.hasMode {
			_ = os.Chmod(l.path, was.Mode().Perm())
		}
	}
	if err := f.setOwner(l.path); err != nil {
		revert()
		return nil, err
	}
	return revert, nil
}

// unlink removes the file, if it is still the listener's. It locks the folder, as listenUnix
// does, so that no server of this package replaces the file in between.
func (l *unixListener) unlink() {
	if folder, err := os.Open(filepath.Dir(l.path)); err == nil {
		defer folder.Close()
		lock(folder)
	}
	if l.hasFile() {
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
	return (&optionValue{key: key, field: name, given: value}).refuse(err)
}
