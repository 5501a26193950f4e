// Command rename changes the path of the module, for publishing it under another path:
//
//	go run ./internal/rename github.com/you/wireline
//
// Run it in the root of the repository. It rewrites the go.mod files of all modules in
// the repository, and the import paths in Go files and documents.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/rename PATH")
		os.Exit(2)
	}
	files, err := renameModule(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
	fmt.Printf("renamed the module to %s in %d files\n", os.Args[1], files)
}
