// Command scale writes the tables of docs/scale.md, which it calculates and simulates: run
//
//	go run ./docs/scale
//
// in the folder of the module. Its random numbers are always the same.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := update("docs/scale.md"); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// update writes the tables into a page.
func update(path string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page, err = fill(page)
	if err != nil {
		return err
	}
	return os.WriteFile(path, page, 0o644)
}

// table is a part of the page. It stands between two comments, which have its name.
type table struct {
	name string
	make func() rows
}

var tables = []table{
	{"memory", memoryTable},
	{"nats", natsTable},
	{"traffic", trafficTable},
	{"storm", stormTable},
	{"failures", failureTable},
	{"restart", restartTable},
}

// fill returns the page with all tables as they are now.
func fill(page []byte) ([]byte, error) {
	for _, t := range tables {
		begin, end := fmt.Sprintf("<!-- %s: go run ./docs/scale -->\n", t.name), fmt.Sprintf("<!-- end of %s -->\n", t.name)
		before, rest, ok := bytes.Cut(page, []byte(begin))
		_, after, closed := bytes.Cut(rest, []byte(end))
		if !ok || !closed {
			return nil, fmt.Errorf("the page has no %q with its end", strings.TrimSpace(begin))
		}
		page = bytes.Join([][]byte{before, []byte(begin), t.make().markdown(), []byte(end), after}, nil)
	}
	return page, nil
}

// rows are the lines of a table, its head first.
type rows [][]string

func (r *rows) add(cells ...any) {
	line := make([]string, len(cells))
	for i, c := range cells {
		line[i] = fmt.Sprint(c)
	}
	*r = append(*r, line)
}

func (r rows) markdown() []byte {
	var b bytes.Buffer
	for i, line := range r {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(line)) + "|\n")
		}
	}
	return b.Bytes()
}
