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
	// Go's default is a listener for multipath TCP where the system has it. It
	// refuses some of TCP's socket options, the filter of keepOut among them
	// (mptcp_setsockopt_sol_socket in Linux's net/mptcp/sockopt.c).
	lc.SetMultipathTCP(false)
	if network == "unix" {
		return listenUnix(ctx, &lc, address)
	}
	return lc.Listen(ctx, network, address)
}
