//go:build race

package main

// raceEnabled reports whether the race detector is on. It allocates, and is slow.
const raceEnabled = true
