package eventloop

import (
	"fmt"
	"runtime/debug"
)

// panicError is a panic of a net.Conn outside Ready, where nobody recovers.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// raise panics again. The value has the first stack: the second one does not show where the
// panic began.
func (e *panicError) raise() { panic(fmt.Sprintf("%v\n\n%s", e.value, e.stack)) }

// catch is to be deferred. It makes an error of a panic.
func catch(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{v, debug.Stack()}
	}
}
