package netconn_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"wireline/internal/netconn"
)

func TestIsDisconnect(t *testing.T) {
	for _, err := range []error{
		io.EOF, net.ErrClosed, os.ErrDeadlineExceeded,
		&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)},
		fmt.Errorf("write: %w", syscall.EPIPE),
	} {
		if !netconn.IsDisconnect(err) {
			t.Errorf("%v is no disconnect", err)
		}
	}
	for _, err := range []error{nil, errors.New("broken"), syscall.ENOMEM, os.ErrNotExist} {
		if netconn.IsDisconnect(err) {
			t.Errorf("%v is a disconnect", err)
		}
	}
}
