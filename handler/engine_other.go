//go:build !linux

package handler

// engine is what engine_linux.go has on Linux. Elsewhere every connection has a
// goroutine.
type engine struct{}

func (e *engine) Stop() {}

func (h *Frames) acceptSocket(Accepted) bool { return false }
