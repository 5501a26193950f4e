//go:build !linux

package tcp

import "net"

// blockSYN is the function of blocksyn_linux.go. Here a connection that is completed
// between the last look into the queue and the close is reset.
func blockSYN(net.Listener) (unblock func()) { return nil }
