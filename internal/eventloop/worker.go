package eventloop

// Worker is a goroutine that calls Ready: the owner of a loop, or one with a
// single connection.
type Worker struct {
	// Frames and Pairs are for what handlers keep from one call to the next, such as a
	// buffer: those of package handler, and those of package proxy. Only the goroutine that
	// calls Ready uses them.
	Frames, Pairs any

	inLoop   bool
	portable bool
	now      int64 // of the last look at the kernel's events

	keeping
}

// InLoop reports whether the worker owns a loop, so that others wait while Ready
// runs. It may lose the loop at any time; see Handler.Slow.
func (w *Worker) InLoop() bool { return w.inLoop }

// Keeps reports whether the worker should keep a buffer from one call of Ready to the
// next. The worker of a portable connection waits with that connection, so a buffer
// in it would be idle memory.
func (w *Worker) Keeps() bool { return !w.portable }

// Now returns when the turn began, by Group.Now, for a worker that owns a loop.
func (w *Worker) Now() int64 { return w.now }
