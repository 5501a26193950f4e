// Package drain holds the set of connections of a handler, and drains it: idle members
// end at once, busy ones after their current work, and those that are left at the end
// of the timeout are cut. All members are drained at the same time.
package drain
