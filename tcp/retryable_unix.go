//go:build unix

package tcp

import "syscall"

// retryableErrnos are the errors of accept(2) that are not the listener's fault.
var retryableErrnos = []error{
	// Out of something that comes back.
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	// The client is gone again.
	syscall.ECONNABORTED, syscall.EPROTO,
	// Errors of the new connection's network, which Linux passes on, and a
	// firewall's refusal (accept(2), ERRORS).
	syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	syscall.ENETUNREACH, syscall.EOPNOTSUPP, syscall.EPERM,
}
