package config_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"wireline/config"
)

func TestUsage(t *testing.T) {
	var b bytes.Buffer
	config.Usage(&b)
	text := b.String()
	want := []string{
		"Usage: wireline [--config FILE] [--check] [--print-config] [--version] [--help] [--KEY VALUE ...]\n",
		"Exit codes: 0 clean stop, 1 serving failed or clients were cut, 2 bad usage or configuration, or an address that cannot be bound.\n",
		"env WIRELINE_CONFIG\n",
	}
	for _, k := range config.Keys(config.Config{}) {
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

// table renders the keys as README.md has them.
func table() string {
	cell := strings.NewReplacer("|", `\|`).Replace
	var b strings.Builder
	b.WriteString("| key | default | env | meaning |\n|---|---|---|---|\n")
	for _, k := range config.Keys(config.Config{}) {
		def := ""
		if k.Default != "" {
			def = "`" + cell(k.Default) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", k.Name, def, k.Env, cell(k.Help))
	}
	return b.String()
}

func TestTableInREADME(t *testing.T) {
	const begin, end = "<!-- config table -->", "<!-- /config table -->"
	readme, err := os.ReadFile("../README.md")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(readme), begin)
	got, _, ended := strings.Cut(rest, end)
	switch {
	case !begun && !ended:
		t.Skipf("README.md has no %s to compare with", begin)
	case !begun || !ended:
		t.Fatalf("README.md has %s or %s without the other", begin, end)
	case strings.TrimSpace(got) != strings.TrimSpace(table()):
		t.Errorf("the table of keys in README.md is out of date; it should be\n%s\n%s%s", begin, table(), end)
	}
}
