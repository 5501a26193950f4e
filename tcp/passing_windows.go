package tcp

import "golang.org/x/sys/windows"

// passing are the errors of accept that are not the listener's fault.
var passing = []error{
	windows.WSAEMFILE, windows.WSAENOBUFS, windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENETDOWN,
}
