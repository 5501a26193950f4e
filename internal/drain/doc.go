// Package drain has the set of what a handler serves, and the end of it: idle
// members go at once, busy ones when they have finished, what is left at the end of
// the time is cut, and all at the same time.
package drain
