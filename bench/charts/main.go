// Command charts draws the results of bench as SVG. It is a separate program, so that its
// dependencies are not part of the servers that are measured.
//
//	go run ./charts results.json FOLDER
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: charts results.json FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "charts:", err)
		os.Exit(1)
	}
}

// run draws what was measured, and leaves out the rest.
func run(from, to string) error {
	r, err := readResults(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for file, c := range r.charts() {
		if err := write(filepath.Join(to, file), c); err != nil {
			return err
		}
	}
	return nil
}

func write(path string, c chart) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return c.writeSVG(f)
}
