// Package probe tells the checks of balancers and monitors from clients: connections that
// end without a byte, or that say what they are in their PROXY header.
package probe

// Announced is an accepted connection that may have said that it is a check.
type Announced interface {
	// Local reports whether the connection had a PROXY header LOCAL: the balancer has
	// opened it for itself.
	Local() bool
}

// Counter is an accepted connection that counts probes.
type Counter interface {
	// Probed is called once, when a connection has ended as a probe.
	Probed()
}

// Is reports whether an accepted connection was a probe. bytes is what it has carried in both
// directions, byClient says that the client has ended it.
func Is(accepted any, bytes int64, byClient bool) bool {
	a, ok := accepted.(Announced)
	return byClient && bytes == 0 || ok && a.Local()
}

// Count tells the server of an accepted connection that it has ended as a probe.
func Count(accepted any) {
	if c, ok := accepted.(Counter); ok {
		c.Probed()
	}
}
