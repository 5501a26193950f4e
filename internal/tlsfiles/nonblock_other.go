//go:build !unix

package tlsfiles

const nonblock = 0
