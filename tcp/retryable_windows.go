package tcp

import "golang.org/x/sys/windows"

// retryableErrnos are the errors of accept after which the listener still works.
var retryableErrnos = []error{
	windows.WSAEMFILE, windows.WSAENOBUFS, windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENETDOWN,
}
