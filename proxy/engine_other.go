//go:build !linux

package proxy

import "wireline/handler"

// engine is what engine_linux.go has on Linux. Elsewhere every link has goroutines.
type engine struct{}

func (e *engine) Stop() {}

func (x *Proxy) acceptSocket(handler.Accepted) bool { return false }
