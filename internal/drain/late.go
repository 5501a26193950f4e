package drain

import "time"

// Latecomer is an accepted connection that may have come late: the server had begun to stop when
// its preamble was over, or when it came from the kernel's queue. Its client has seen no sign of
// that, and may be about to send.
type Latecomer interface {
	// FirstInput returns until when a drain waits for the first input of a connection that
	// has come late. It is zero for others.
	FirstInput() time.Time
}

// FirstInput is that of an accepted connection, and zero if it is no Latecomer.
func FirstInput(accepted any) time.Time {
	if l, ok := accepted.(Latecomer); ok {
		return l.FirstInput()
	}
	return time.Time{}
}
