//go:build !unix || aix

package tcp

import (
	"context"
	"net"
)

// listenUnix listens on path. It leaves a socket file that is there alone: a dead
// server's cannot be told from a live one's.
func listenUnix(ctx context.Context, lc *net.ListenConfig, path string) (net.Listener, error) {
	return lc.Listen(ctx, "unix", path)
}
