//go:build unix

package tcp_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// A server that stops removes its own socket file, and nothing that has taken its place.
func TestUnixSocketOfASuccessorStays(t *testing.T) {
	successors := map[string]func(t *testing.T, path string){
		"a second server": func(t *testing.T, path string) {
			ln, err := listenUnix(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
		},
		"a regular file": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a socket moved into place": func(t *testing.T, path string) {
			leaveStale(t, path+"2")
			if err := os.Rename(path+"2", path); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, succeed := range successors {
		t.Run(name, func(t *testing.T) {
			path := testutil.SocketPath(t)
			ln, err := listenUnix(path)
			if err != nil {
				t.Fatal(err)
			}
			srv := &tcp.Server{Handler: echo()}
			result := serve(context.Background(), t, srv, ln)
			exchange(t, dial(t, "unix", path), "a\n")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			succeed(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			shutdown(t, srv)
			result()
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("the successor's file: %v", err)
			}
		})
	}
}

// A second Close removes nothing, also if a file of the same number is there again.
func TestUnixListenerClosesTwice(t *testing.T) {
	path := testutil.SocketPath(t)
	ln, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	next, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second Close: %v", err)
	}
	dial(t, "unix", path)
}

func TestSocketModeAndGroup(t *testing.T) {
	groups := []int{os.Getgid()}
	more, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	groups = append(groups, more...)
	for _, mode := range []string{"", "0600", "0660", "0777", "0000"} {
		for _, group := range groups {
			path := testutil.SocketPath(t)
			cfg := tcp.Config{Network: "unix", Address: path, SocketMode: mode, SocketGroup: strconv.Itoa(group)}
			ln, err := tcp.Listen(context.Background(), &cfg)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			ln.Close()
			if err != nil {
				t.Fatal(err)
			}
			if got := "0" + strconv.FormatUint(uint64(info.Mode().Perm()), 8); mode != "" && mode != "0000" && got != mode {
				t.Errorf("mode %s, want %s", got, mode)
			}
			if got := int(info.Sys().(*syscall.Stat_t).Gid); got != group {
				t.Errorf("group %d, want %d", got, group)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket file is left behind (%v)", err)
			}
		}
	}
}

// A group that the process may not give is an error that names the key, and leaves no file.
func TestSocketGroupNotAllowed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may")
	}
	path := testutil.SocketPath(t)
	_, err := tcp.Listen(context.Background(), &tcp.Config{Network: "unix", Address: path, SocketGroup: "1"})
	if err == nil || !strings.Contains(err.Error(), "tcp.socket_group 1") {
		t.Errorf("listen: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left behind (%v)", err)
	}
}

func TestValidateSocketFile(t *testing.T) {
	for _, test := range []struct {
		cfg  tcp.Config
		want string
	}{
		{tcp.Config{Network: "unix", Address: "/s", SocketMode: "0660", SocketGroup: "0"}, ""},
		{tcp.Config{Network: "unix", Address: "/s", SocketMode: "660"}, "SocketMode 660: must be four octal digits"},
		{tcp.Config{Network: "unix", Address: "/s", SocketMode: "0780"}, "SocketMode 0780: must be four octal digits"},
		{tcp.Config{Network: "unix", Address: "/s", SocketMode: "1777"}, "SocketMode 1777: must be four octal digits"},
		{tcp.Config{Network: "unix", Address: "/s", SocketGroup: "no such group"}, "must be a group of this system"},
		{tcp.Config{Network: "unix", Address: "/s", SocketGroup: "-1"}, "must be a group of this system"},
		{tcp.Config{Network: "unix", Address: "/s", SocketGroup: "4294967295"}, "must be a group of this system"},
		{tcp.Config{Network: "unix", Address: "@s", SocketMode: "0660"}, "is not for abstract sockets"},
		{tcp.Config{SocketMode: "0660"}, "SocketMode 0660: is for unix sockets only"},
		{tcp.Config{SocketGroup: "0"}, "SocketGroup 0: is for unix sockets only"},
	} {
		err := test.cfg.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %s", test.cfg.SocketMode+test.cfg.SocketGroup, err, test.want)
		}
	}
}
