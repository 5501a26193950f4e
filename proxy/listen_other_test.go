//go:build !unix

package proxy_test

// listenAgain changes the backlog of a listener, but not here.
func listenAgain(uintptr, int) {}
