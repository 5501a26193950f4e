//go:build !unix

package proxy

import "net"

// alive cannot tell here: nothing can be seen without reading. Config.Validate therefore
// refuses Reuse.
func alive(net.Conn, bool) bool { return true }
