//go:build !unix

package tcp

import "io"

// peek is of peek_unix.go. Here nothing can be seen without reading it.
func (a *arrival) peek() (header, error) { return header{}, io.ErrUnexpectedEOF }

func (a *arrival) await() (header, error) { return a.readAhead() }
