//go:build !linux

package tcp

import (
	"errors"
	"net"

	"wireline/handler"
)

// modeOf is of options_linux.go. Elsewhere nothing is known of a listener that
// somebody else has made.
func modeOf(net.Listener) (handler.CloseMode, error) { return 0, errors.ErrUnsupported }
