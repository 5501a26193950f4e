package eventloop

// Worker is a goroutine that calls Ready: the owner of a loop, or one with a
// single connection.
type Worker struct {
	// Local is for what handlers keep from one call to the next, such as a
	// buffer. Only the goroutine that calls Ready uses it.
	Local any

	inLoop   bool
	portable bool
	now      int64 // of the last look at the kernel's events

	keeping
}

// InLoop reports whether the worker owns a loop, so that others wait while Ready
// runs. It may lose the loop at any time; see Handler.Slow.
func (w *Worker) InLoop() bool { return w.inLoop }

// Keeps reports whether Local should keep a buffer from one call of Ready to the
// next. The worker of a portable connection waits with that connection, so a buffer
// in its Local would be idle memory.
func (w *Worker) Keeps() bool { return !w.portable }

// Now returns when the turn began, by Group.Now, for a worker that owns a loop.
func (w *Worker) Now() int64 { return w.now }
