//go:build !unix

package tcp

import (
	"context"
	"net"
)

// replaceStale leaves the socket file alone where a dead server's cannot be
// told from a live one's.
func replaceStale(_ context.Context, _ *net.ListenConfig, _ string, err error) (net.Listener, error) {
	return nil, err
}
