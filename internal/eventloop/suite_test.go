package eventloop_test

import (
	"testing"

	"go.uber.org/goleak"

	"wireline/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = testutil.Patience

var (
	soon       = testutil.Soon
	eventually = testutil.Eventually
)

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	return testutil.Await(t, what, c)
}

func call(f func()) {
	if f != nil {
		f()
	}
}
