//go:build !unix || aix

package eventloop

// newRaw is of raw_unix.go. Here every connection has only the Read and Write of net.Conn.
func newRaw(*Portable) transport { return nil }
