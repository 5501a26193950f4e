package testutil

import (
	"errors"
	"testing"
	"time"
)

// ErrLate means that a test was late itself, as on a busy machine: what it saw proves nothing.
var ErrLate = errors.New("the test itself was late")

// InTime runs a test that must do something before a timeout of its server. try has the timeout set to
// limit, does what must come before it, and measures how long that took: from before the timeout can have
// begun. If it took as long as the timeout, which is not the server's fault, try returns ErrLate. Then it
// is called again, with a longer limit. Another error fails the test. InTime may be called in any
// goroutine.
func InTime(t testing.TB, limit time.Duration, try func(limit time.Duration) error) {
	t.Helper()
	const tries = 8
	longest := max(4*limit, 4*time.Second)
	for i := 1; ; i++ {
		err := try(limit)
		switch {
		case err == nil:
			return
		case !errors.Is(err, ErrLate) || i == tries:
			t.Errorf("with a timeout of %v, try %d: %v", limit, i, err)
			return
		}
		t.Logf("with a timeout of %v, try %d: %v", limit, i, err)
		limit = min(2*limit, longest)
	}
}
