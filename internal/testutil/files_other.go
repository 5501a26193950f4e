//go:build !linux

package testutil

import "testing"

// OpenFiles cannot count the open files here: it always returns the same.
func OpenFiles(testing.TB) int { return 0 }
