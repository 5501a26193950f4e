//go:build unix

package e2e

import (
	"io/fs"
	"os"
	"syscall"
	"testing"

	"wireline/internal/testutil"
)

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := testutil.SocketPath(t)
	p := startUnix(t, path)
	echoes(t, p.dial(), "hello\n")
	p.stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if e := p.await("msg", "connection"); e["peer"] != "unix" {
		t.Errorf("peer=%s, want unix", e["peer"])
	}
}

// A server that was killed leaves its socket file behind. The next server replaces it.
func TestUnixSocketAfterKill(t *testing.T) {
	t.Parallel()
	path := testutil.SocketPath(t)
	first := startUnix(t, path)
	echoes(t, first.dial(), "hello\n")
	first.signal(syscall.SIGKILL)
	if code := first.wait(); code != -1 {
		t.Errorf("exit code %d of a killed process", code)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Fatalf("no socket was left behind: %v, %v", info, err)
	}
	second := startUnix(t, path)
	echoes(t, second.dial(), "hello again\n")
	second.stop()
}

// A socket in use and a file of another kind are not touched.
func TestUnixSocketTaken(t *testing.T) {
	t.Parallel()
	served := testutil.SocketPath(t)
	p := startUnix(t, served)
	file := testutil.SocketPath(t)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{served, file} {
		other := launch(t, "wireline", "--tcp.network=unix", "--tcp.address="+path)
		if code := other.wait(); code != exitUsage {
			t.Errorf("exit code %d, want %d", code, exitUsage)
		}
		want := "wireline: tcp.address: flag --tcp.address: \"" + path + "\" cannot be bound: listen unix " + path + ": bind: address already in use\n"
		if got := other.stderr.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	echoes(t, p.dial(), "hello\n")
	p.stop()
	if text, err := os.ReadFile(file); string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
