//go:build !race

package testutil

// RaceEnabled reports whether the race detector is enabled. It is slow, and it
// allocates memory of its own.
const RaceEnabled = false

// RaceFactor is how many times longer code takes than without the race detector.
const RaceFactor = 1
