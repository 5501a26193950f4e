//go:build !linux

package proxy

import (
	"errors"
	"net"
)

// There are no event loops here: each side has a poller of its own.

type dialOption struct{}

func (*Config) dialOptions() []dialOption { return nil }

func (p *pair) dial(choice, *upstream) bool { return false }

func (p *pair) useLoop(net.Conn) bool { return false }

func (p *pair) takeConn() (net.Conn, error) { return nil, errors.ErrUnsupported }
