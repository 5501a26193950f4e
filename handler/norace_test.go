//go:build !race

package handler_test

const raceEnabled = false

// raceFactor is how much longer things take.
const raceFactor = 1
