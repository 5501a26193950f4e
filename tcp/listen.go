package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"wireline/lib/field"
)

// Listen opens the listener that cfg describes. It replaces the file of a unix socket
// whose server is dead. A socket that a server listens on, or a file of another kind, is
// an error.
//
// The socket options of cfg are set before the socket listens, and connections inherit
// them; those that the system does not pass on are set on each connection. An option that
// the system does not have, or for which it takes another value, is an error that names
// the key, and so is an address that cannot be bound. errors.As finds a *field.Error.
func Listen(ctx context.Context, cfg *Config) (net.Listener, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	return listenAs(ctx, cfg)
}

// listenAs is Listen for a configuration that is valid.
func listenAs(ctx context.Context, cfg *Config) (net.Listener, error) {
	ln, err := listen(ctx, cfg)
	if err != nil {
		return nil, cfg.listenError(err)
	}
	for _, s := range cfg.options() {
		if s.option != backlog {
			continue
		}
		if err := changeBacklog(ln, s.value); err != nil {
			ln.Close()
			return nil, fmt.Errorf("tcp: listen %s: %w", ln.Addr(), s.refuse(err))
		}
	}
	return ln, nil
}

// listenError adds to err of listen which field it is about: the address, unless err says so.
func (c *Config) listenError(err error) error {
	var bad *field.Error
	if errors.As(err, &bad) {
		return err
	}
	return c.addressError(err)
}

func listen(ctx context.Context, cfg *Config) (net.Listener, error) {
	file := cfg.socketFile(new(field.Errors))
	lc := net.ListenConfig{
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			ctlErr := c.Control(func(fd uintptr) {
				file.hide(fd)
				err = cfg.apply(fd)
			})
			if ctlErr != nil {
				return ctlErr
			}
			return err
		},
		KeepAlive:       -1, // or package net would set its own if the one below is off
		KeepAliveConfig: cfg.netKeepAlive(),
	}
	// By default Go listens for multipath TCP if the system has it. Such a listener
	// refuses some of TCP's socket options, among them the filter of blockSYN
	// (mptcp_setsockopt_sol_socket in Linux's net/mptcp/sockopt.c).
	lc.SetMultipathTCP(false)
	network, address := cfg.listenNetwork(), cfg.address()
	if network == "unix" {
		return listenUnix(ctx, &lc, address, file)
	}
	ln, err := lc.Listen(ctx, network, address)
	if tcp, ok := ln.(*net.TCPListener); ok && cfg.wantsListener() {
		return &tunedListener{tcp, !cfg.Socket.NoDelay.On(), cfg.Linger}, err
	}
	return ln, err
}

// changeBacklog sets the length of the queue of ln, which listens already.
func changeBacklog(ln net.Listener, length int) error {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = setBacklog(fd, length) }); ctlErr != nil {
		return ctlErr
	}
	return err
}
