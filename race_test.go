//go:build race

package main

// raceEnabled tells that the race detector is on. It takes memory of its own,
// so what the program takes cannot be measured.
const raceEnabled = true
