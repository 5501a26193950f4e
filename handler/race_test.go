//go:build race

package handler_test

const raceEnabled = true

// raceFactor is how much longer things take.
const raceFactor = 2
