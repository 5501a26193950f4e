//go:build !linux

package tcp

import (
	"errors"
	"net"

	"wireline/handler"
)

// modeOf is the function of options_linux.go. Here the options of a listener are not known.
func modeOf(net.Listener) (handler.CloseMode, error) { return 0, errors.ErrUnsupported }
