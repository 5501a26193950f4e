//go:build !linux

package proxy

// engine is what engine_linux.go has on Linux. Elsewhere every link has goroutines.
type engine struct{}

func (e *engine) Stop() {}
