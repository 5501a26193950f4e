//go:build race

package testutil

// RaceEnabled reports whether the race detector is on. It is slow, allocates, and takes memory
// of its own.
const RaceEnabled = true

// RaceFactor is how much longer things take under the race detector.
const RaceFactor = 2
