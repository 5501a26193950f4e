package tcp

import (
	"context"
	"fmt"
	"net"
)

// Listen opens the listener that cfg describes. A unix socket whose server is
// dead is replaced; one that somebody listens on is an error, as is any other
// kind of file.
func Listen(ctx context.Context, cfg *Config) (net.Listener, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	network, address := cfg.network(), cfg.address()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, address)
	if err != nil && network == "unix" {
		return replaceStale(ctx, &lc, address, err)
	}
	return ln, err
}
