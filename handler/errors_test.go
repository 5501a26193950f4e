package handler_test

import (
	"errors"
	"net"
	"testing"

	"wireline/handler"
)

// errors.Is finds net.ErrClosed in the error of a client that has ended.
func TestErrClosedIsNetErrClosed(t *testing.T) {
	if !errors.Is(handler.ErrClosed, net.ErrClosed) {
		t.Error("net.ErrClosed does not match ErrClosed")
	}
	if errors.Is(handler.ErrQuit, net.ErrClosed) {
		t.Error("net.ErrClosed matches ErrQuit, which only asks to close the client")
	}
}
