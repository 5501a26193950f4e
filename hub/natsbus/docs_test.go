package natsbus_test

import (
	"os"
	"strings"
	"testing"
)

// The example in docs/hub.md is the one that is compiled here.
func TestDocsExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/hub.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "<!-- as in hub/natsbus/example_test.go -->\n```go\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed || !strings.Contains(string(code), block) {
		t.Errorf("docs/hub.md does not have the function of example_test.go:\n%s", block)
	}
}
