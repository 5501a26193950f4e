//go:build !unix || aix

package eventloop

// newRaw returns nil: on these systems every connection has only the Read and Write of net.Conn.
func newRaw(*Portable) transport { return nil }
