// Command pictures draws the pictures of README.md and docs/architecture.md: run
//
//	go run ./docs/pictures
//
// in the folder of the module. They are 400 pixels wide, for a phone, load nothing, and are dark
// where the viewer prefers that.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// picture is a file that is drawn.
type picture interface {
	file() string
	draw() []byte
}

func main() {
	if err := write("docs/img"); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// write draws all pictures into folder.
func write(folder string) error {
	for _, p := range pictures() {
		if err := os.WriteFile(filepath.Join(folder, p.file()), p.draw(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func pictures() []picture {
	return []picture{overview, frameJourney, proxyJourney, drainJourney, configJourney, clientStates, pairStates}
}
