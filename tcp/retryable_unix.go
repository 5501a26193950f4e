//go:build unix

package tcp

import "syscall"

// retryableErrnos are the errors of accept(2) after which the listener still works.
var retryableErrnos = []error{
	// Out of descriptors, buffers or memory.
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	// The client has gone.
	syscall.ECONNABORTED, syscall.EPROTO,
	// Network errors of the new connection, which Linux passes on, and the refusal of a
	// firewall (accept(2), ERRORS).
	syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	syscall.ENETUNREACH, syscall.EOPNOTSUPP, syscall.EPERM,
}
