// Package wait has a counter of work in flight, with waits that have a timeout or a
// context.
//
// It differs from sync.WaitGroup in two ways. First, Add may run concurrently with Wait
// at any count; with a WaitGroup that is not allowed if the count is zero. Second, an
// abandoned wait leaves nothing behind; a timeout around WaitGroup.Wait leaves a
// goroutine that waits.
package wait
