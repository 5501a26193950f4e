package main

import (
	"net"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	for arg, want := range map[string]string{
		"FROM:<a@b>":               "a@b,",
		"from:<a@b> SIZE=1 X":      "a@b,SIZE=1 X",
		"FROM:<>":                  ",",
		"FROM:<> BODY=7BIT":        ",BODY=7BIT",
		`FROM:<"a>b"@c> x`:         `"a>b"@c,x`,
		`FROM:<"a\">b"@c>`:         `"a\">b"@c,`,
		"FROM:<@x,@y:a@b>":         "a@b,",
		"FROM:<@x:a@b> SIZE=1":     "a@b,SIZE=1",
		"FROM:<" + long(254) + ">": long(254) + ",",
		"FROM:<" + long(255) + ">": "error",
		"FROM: <a@b>":              "error",
		"FROM:a@b":                 "error",
		"FROM:<a@b":                "error",
		"FROM:<a@b>SIZE=1":         "error",
		"FROM:<@x>":                "error",
		"FROM:<@x:>":               "error",
		"FROM:":                    "error",
		"TO:<a@b>":                 "error",
		"":                         "error",
		`FROM:<"a@b>`:              "error",
		"FROM <a@b>":               "error",
	} {
		mailbox, params, ok := parsePath(arg, "FROM:")
		got := mailbox + "," + params
		if !ok {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", arg, got, want)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestValidMailbox(t *testing.T) {
	for s, want := range map[string]bool{
		"a@b":                                  true,
		"a.b+c@example.com":                    true,
		"o'neil=x@example.com":                 true,
		`"a b"@example.com`:                    true,
		`"a\"@b"@example.com`:                  true,
		`""@example.com`:                       true,
		"a@[192.0.2.1]":                        true,
		"a@[IPv6:2001:db8::1]":                 true,
		"a@x-y.9z":                             true,
		long(64) + "@b":                        true,
		long(65) + "@b":                        false,
		"a@" + long(63):                        true,
		"a@" + long(64):                        false,
		"a@" + strings.Repeat("x.", 128) + "x": false,
		"":                                     false,
		"a":                                    false,
		"@b":                                   false,
		"a@":                                   false,
		"a..b@c":                               false,
		".a@c":                                 false,
		"a.@c":                                 false,
		"a b@c":                                false,
		"a@b@c":                                false,
		`"a@c`:                                 false,
		`"a"b"@c`:                              false,
		`"a\"@c`:                               false,
		"a@b..c":                               false,
		"a@b.":                                 false,
		"a@-b":                                 false,
		"a@b-":                                 false,
		"a@b_c":                                false,
		"a@[b]":                                false,
		"a@[192.0.2.1":                         false,
		"a@[]":                                 false,
		"a@b c":                                false,
		"a<b@c":                                false,
	} {
		if got := validMailbox(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestHostOf(t *testing.T) {
	for addr, want := range map[net.Addr]string{
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}:     "[192.0.2.1]",
		&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1}: "[IPv6:2001:db8::1]",
		&net.UnixAddr{Name: "@", Net: "unix"}:                 "unknown",
	} {
		if got := hostOf(addr); got != want {
			t.Errorf("%v: %s", addr, got)
		}
	}
}

// No argument makes the parser panic, and what it accepts can do no harm in a header or a
// file.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"FROM:<a@b> SIZE=1", "FROM:<@x:a@b>", `FROM:<"a\">b"@c>`, "FROM:<>", "FROM:<a@[192.0.2.1]>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		mailbox, params, ok := parsePath(arg, "FROM:")
		if !ok || !strings.HasSuffix(arg, params) || len(mailbox) >= maxPath {
			if ok {
				t.Errorf("%q: %q, %q", arg, mailbox, params)
			}
			return
		}
		if !validMailbox(mailbox) {
			return
		}
		if again, _, ok := parsePath("FROM:<"+mailbox+">", "FROM:"); !ok || again != mailbox {
			t.Errorf("%q is read as %q", mailbox, again)
		}
	})
}
