// Command rename gives the module another path, for whoever publishes it:
//
//	go run ./internal/rename github.com/you/wireline
//
// It runs in the root of the repository, and rewrites the go.mod files of all modules in it,
// and the import paths in the Go files and in the documents.
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
