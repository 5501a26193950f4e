package wait_test

import (
	"fmt"
	"time"

	"wireline/lib/sync/wait"
)

func ExampleWait_WaitWithTimeout() {
	var w wait.Wait
	w.Add(1)
	fmt.Println("timed out:", w.WaitWithTimeout(time.Millisecond))
	w.Done()
	fmt.Println("timed out:", w.WaitWithTimeout(time.Millisecond))
	// Output:
	// timed out: true
	// timed out: false
}
