package testutil

import (
	"os"
	"strconv"
)

// Rounds returns how many rounds a long test is to do: WIRELINE_TEST_ROUNDS, if that is set, or
// else the number of an ordinary run, which is small.
func Rounds(ordinary int) int {
	if n, err := strconv.Atoi(os.Getenv("WIRELINE_TEST_ROUNDS")); err == nil {
		return n
	}
	return ordinary
}
