package testutil

import (
	"testing"
	"time"
)

// InTime runs a test whose client must be sooner than a timeout of its server. try has the timeout set
// to limit, does what the client has to do before that, and measures how long it took: from before the
// timeout can have begun. If it took at least limit, which is not the server's fault, try returns false
// without a check. Then it is called again, with twice the limit.
func InTime(t testing.TB, limit time.Duration, try func(limit time.Duration) (inTime bool)) {
	t.Helper()
	for range 8 {
		if try(limit) {
			return
		}
		t.Logf("the client took longer than %v", limit)
		limit *= 2
	}
	t.Fatal("the machine is too slow")
}
