package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"wireline/config"
)

// readme returns the README.
func readme(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sessions returns the blocks of the README behind a comment.
func sessions(t testing.TB, comment string) (blocks []string) {
	t.Helper()
	for _, block := range strings.Split(readme(t), "<!-- "+comment+" -->\n```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		t.Fatalf("the README has no %s", comment)
	}
	return blocks
}

// need skips the test if a program is missing. If the environment says that all tools must exist, as on
// a machine that is set up for the tests, it fails the test.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("WIRELINE_TEST_INTEROP") == "required" {
			t.Fatalf("no %s here, and WIRELINE_TEST_INTEROP=required", name)
		}
		t.Skipf("no %s here", name)
	}
}

// passing matches what is different each time.
var passing = regexp.MustCompile(`127\.0\.0\.1:\d+|\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)`)

// The sessions of the README print what it says.
func TestReadmeSessions(t *testing.T) {
	g := start(t, "--config=gateway.yaml")
	out, exited := g.device("-id", "boiler")
	for line := range strings.Lines(sessions(t, "session: device")[0]) {
		if !strings.HasPrefix(line, "$ ") {
			out.await(t, strings.TrimSuffix(line, "\n"))
		}
	}
	g.runSessions("session", "127.0.0.1:7001", strings.TrimPrefix(g.http, "http://"), "127.0.0.1 7000", strings.Replace(g.devices, ":", " ", 1))
	await(t, "the end of the device", exited)
}

// runSessions runs the sessions behind a comment. places are pairs: an address in the README, and what it
// is here.
func (g *running) runSessions(comment string, places ...string) {
	g.t.Helper()
	need(g.t, "bash", "curl", "nc", "od")
	place := strings.NewReplacer(places...)
	for _, session := range sessions(g.t, comment) {
		for _, step := range strings.Split("\n"+session, "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			printed, err := exec.Command("bash", "-c", place.Replace(command)).CombinedOutput()
			got := strings.TrimSuffix(string(printed), "\n")
			if err != nil || passing.ReplaceAllString(got, "") != passing.ReplaceAllString(strings.TrimSuffix(want, "\n"), "") {
				g.t.Errorf("$ %s\n%v\n%s\nthe README says\n%s", command, err, got, want)
			}
		}
	}
}

// The same for two processes.
func TestReadmeTwoProcesses(t *testing.T) {
	first, second := startTwo(t)
	out, exited := second.device("-id", "boiler")
	out.await(t, "message 2 is acknowledged")
	first.runSessions("session: two processes", "127.0.0.1:7001", strings.TrimPrefix(first.http, "http://"))
	await(t, "the end of the device", exited)
}

// The README has the table that config writes.
func TestReadmeTable(t *testing.T) {
	var table strings.Builder
	if err := config.Table(&table, new(Config), options(nil, nil)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(table.String()) {
		own := strings.HasPrefix(line, "| `devices.") || strings.HasPrefix(line, "| `nats.")
		if own && !strings.Contains(readme(t), line) {
			t.Errorf("README.md lacks\n%s", line)
		}
	}
}
