//go:build !unix

package tcp

import "io"

// peek is the method of peek_unix.go. Here nothing can be seen without reading it.
func (a *accepted) peek() (header, error) { return header{}, io.ErrUnexpectedEOF }

func (a *accepted) await() (header, error) { return a.readAhead() }
