//go:build !linux

package tcp

// migratesNothing is for Linux.
func migratesNothing() bool { return false }
