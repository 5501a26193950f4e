// Package panics lets a handler report a panic to the server that a connection came from, also
// when it was hijacked and then passed to another handler.
package panics

import "context"

// Key is the key under which the context of a server's connections has a Reporter.
type Key struct{}

// Reporter counts and logs the panics of a server's handlers.
type Reporter interface {
	// ReportPanic is called by the function that recovers, with what it has recovered: nil stands
	// for runtime.Goexit.
	ReportPanic(peer string, v any)
}

// ReporterOf returns the Reporter of ctx, or nil.
func ReporterOf(ctx context.Context) Reporter {
	r, _ := ctx.Value(Key{}).(Reporter)
	return r
}
