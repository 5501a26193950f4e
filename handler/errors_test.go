package handler_test

import (
	"errors"
	"net"
	"testing"

	"wireline/handler"
)

// Whoever knows package net knows the error of a client that has ended, too.
func TestErrClosedIsNetErrClosed(t *testing.T) {
	if !errors.Is(handler.ErrClosed, net.ErrClosed) {
		t.Error("net.ErrClosed does not match ErrClosed")
	}
	if errors.Is(handler.ErrQuit, net.ErrClosed) {
		t.Error("net.ErrClosed matches ErrQuit, which is a request and no end")
	}
}
