// Package wait has a counter of work in flight that one can wait for with a
// bound. It differs from sync.WaitGroup in two ways: Add may run at the same
// time as Wait, from any count (a WaitGroup panics or misses it when its count
// is zero), and a wait that is given up leaves nothing behind (around a
// WaitGroup it leaves the goroutine that waits).
package wait
