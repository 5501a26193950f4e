//go:build !linux

package handler

// raw is what raw_linux.go has on Linux. Elsewhere there is none, and the
// stream makes do with net.Conn.
type raw struct{}

func (r *raw) init(*stream) {}

func (r *raw) ok() bool { return false }

func (r *raw) read() (int, error) { panic("unreachable") }

func (r *raw) look() (int, error) { panic("unreachable") }

func (r *raw) tryWrite([3][]byte) (int, error) { panic("unreachable") }
