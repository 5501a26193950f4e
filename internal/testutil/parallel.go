package testutil

import (
	"flag"
	"strconv"
)

// WaitInParallel lets n parallel tests run at the same time, unless the flag -parallel of go test
// says otherwise. The default is one for each CPU, but most tests of servers wait rather than
// compute. Call it in TestMain, before the flags are parsed.
func WaitInParallel(n int) { flag.Set("test.parallel", strconv.Itoa(n)) }
