package tcp

import "golang.org/x/sys/windows"

// retryableErrnos are the errors of accept that are not the listener's fault.
var retryableErrnos = []error{
	windows.WSAEMFILE, windows.WSAENOBUFS, windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENETDOWN,
}
