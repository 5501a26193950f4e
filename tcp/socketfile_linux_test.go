package tcp

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"

	"wireline/internal/testutil"
	"wireline/lib/field"
)

// Before its file has the permissions, nobody may connect.
func TestSocketFileIsBoundWithoutPermissions(t *testing.T) {
	path := testutil.SocketPath(t)
	file := (&Config{Network: "unix", Address: path, SocketMode: "0666"}).socketFile(new(field.Errors))
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return c.Control(file.hide) }}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0 {
		t.Errorf("%v, %v; want no permissions", info.Mode(), err)
	}
}
