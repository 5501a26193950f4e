//go:build !unix || aix

package tcp

import (
	"context"
	"net"
)

const hasSocketFiles = false

// listenUnix listens on path. An existing socket file is an error: it cannot be told
// whether its server is dead.
func listenUnix(ctx context.Context, lc *net.ListenConfig, path string, _ socketFile) (net.Listener, error) {
	return lc.Listen(ctx, "unix", path)
}

func (f *socketFile) hide(uintptr) {}
