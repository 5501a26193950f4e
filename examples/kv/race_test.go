//go:build race

package main

// raceEnabled tells that the race detector is on. It allocates, and is slow.
const raceEnabled = true
