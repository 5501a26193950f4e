//go:build !linux

package client

import (
	"errors"
	"net"
)

// There are no event loops here: each connection is served by a goroutine.

func (l *link) detach() {}

func copySocket(int) (net.Conn, error) { return nil, errors.ErrUnsupported }
