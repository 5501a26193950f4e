package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"wireline/config"
	"wireline/internal/app"
)

func TestUsage(t *testing.T) {
	var b bytes.Buffer
	config.Usage(&b, new(app.Config), app.Options("", nil, nil))
	text := b.String()
	want := []string{
		"Usage: wireline [--config FILE] [--check] [--print-config] [--version] [--help] [--KEY VALUE ...]\n",
		"Exit codes: 0 clean stop, 1 serving failed or clients were cut, 2 bad usage or configuration, or an address that cannot be bound.\n",
		"env WIRELINE_CONFIG\n",
	}
	for _, k := range config.Keys(app.Config{}) {
		want = append(want, fmt.Sprintf("  --%s %s ", k.Name, strings.ToUpper(k.Kind)), k.Help, "env "+k.Env+"\n")
	}
	for _, s := range want {
		if !strings.Contains(text, s) {
			t.Errorf("%q is not in\n%s", s, text)
		}
	}
	for line := range strings.Lines(text) {
		if line != strings.TrimRight(line, " \n")+"\n" {
			t.Errorf("%q ends with spaces", line)
		}
	}
}

var update = flag.Bool("update", false, "write the table into docs/configuration.md")

// docs/configuration.md has the table that config writes.
func TestTableInDocs(t *testing.T) {
	const begin, end = "<!-- config table -->\n", "<!-- /config table -->"
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	if err := config.Table(&want, new(app.Config), app.Options("", nil, nil)); err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(page), begin)
	got, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("docs/configuration.md has no %s and %s", begin, end)
	}
	if *update {
		write(t, "../docs/configuration.md", before+begin+want.String()+end+after)
	} else if got != want.String() {
		t.Error("the table in docs/configuration.md is out of date: go test ./config -run TestTableInDocs -update")
	}
}
