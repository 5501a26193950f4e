package main

import (
	"strings"
	"testing"
)

// Every command is found, in any case, after few probes.
func TestTable(t *testing.T) {
	table := newTable()
	if len(table.list) < 30 || len(table.list) > tableSize/4 {
		t.Errorf("%d commands for %d slots", len(table.list), tableSize)
	}
	for i, c := range table.list {
		if i > 0 && table.list[i-1].name >= c.name {
			t.Errorf("%s is listed before %s", table.list[i-1].name, c.name)
		}
		for _, name := range []string{c.name, strings.ToUpper(c.name), strings.ToUpper(c.name[:1]) + c.name[1:]} {
			if table.find([]byte(name)) != c {
				t.Errorf("%s is not found", name)
			}
		}
		for _, name := range []string{c.name[1:] + "!", c.name + c.name[len(c.name)-1:], c.name[:1] + "x" + c.name[2:] + " "} {
			if found := table.find([]byte(name)); found != nil {
				t.Errorf("%s is found by %q", found.name, name)
			}
		}
		for _, sub := range c.subs {
			_, name, _ := strings.Cut(strings.ToUpper(sub.name), "|")
			if found := table.lookup([][]byte{[]byte(c.name), []byte(name)}); found != sub {
				t.Errorf("%s is not found", sub.name)
			}
		}
	}
	for _, name := range []string{"", "\x00", "g", "get ", "[et", strings.Repeat("get", 1000)} {
		if found := table.find([]byte(name)); found != nil {
			t.Errorf("%s is found by %.20q", found.name, name)
		}
	}
	for _, c := range table.list {
		n := 0
		for i := slot([]byte(c.name)); table.slots[i] != c; i = (i + 1) % tableSize {
			n++
		}
		if n > 2 {
			t.Errorf("%s takes %d probes", c.name, n)
		}
	}
}

// The reply to COMMAND is well-formed, and the table is complete.
func TestCommandTexts(t *testing.T) {
	var check func(c *command)
	check = func(c *command) {
		if c.name != strings.ToLower(c.name) || c.arity == 0 || c.run == nil || c.group == "" || c.since == "" || c.summary == "" {
			t.Errorf("%+v is not complete", c)
		}
		for _, sub := range c.subs {
			if !strings.HasPrefix(sub.name, c.name+"|") {
				t.Errorf("%s has the subcommand %s", c.name, sub.name)
			}
			check(sub)
		}
	}
	x := newSession(t)
	for _, c := range x.server.commands.list {
		check(c)
		for _, in := range [][]byte{array("COMMAND", "INFO", c.name), array("COMMAND", "DOCS", c.name)} {
			if err := x.serve(in); err != nil {
				t.Fatal(err)
			}
			if rest := skipReply(t, string(x.out)); rest != "" {
				t.Errorf("after the reply to %q: %q", in, rest)
			}
			x.reset()
		}
	}
}

// skipReply returns what follows the first reply in text.
func skipReply(t *testing.T, text string) (rest string) {
	t.Helper()
	head, rest, ok := strings.Cut(text, "\r\n")
	if !ok || head == "" {
		t.Fatalf("no reply in %q", text)
	}
	n, _ := parseInt([]byte(head[1:]))
	switch head[0] {
	case '$':
		if int64(len(rest)) < n+2 {
			t.Fatalf("%q is incomplete", text)
		}
		return rest[max(n+2, 0):]
	case '*':
		for range n {
			rest = skipReply(t, rest)
		}
	}
	return rest
}
