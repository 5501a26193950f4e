package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain makes commands of the test binary: under these names it is found in
// PATH, and is the program and not its tests. So the tests need no build.
func TestMain(m *testing.M) {
	testscript.Main(noLeaks{m}, map[string]func(){
		"wireline": main,
		"worker":   worker,
		"relay":    relay,
	})
}

// noLeaks runs the tests and then fails if they left goroutines behind.
type noLeaks struct{ m *testing.M }

func (n noLeaks) Run() int {
	code := n.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
