//go:build !unix || aix

package tcp

import "net"

func shareListener(net.Listener) (net.Listener, error) { return nil, errCannotShare }
