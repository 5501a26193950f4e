package main

import (
	"fmt"
	"slices"
	"strings"

	"wireline/handler"
)

// command is one of the commands there are, or a subcommand of one.
type command struct {
	name    string // in small letters; of a subcommand as "client|id"
	arity   int    // how many arguments, with its name; negative means at least
	run     func(x *session, args [][]byte) error
	group   string
	since   string // the Redis version that brought it
	summary string
	flags   []string // as COMMAND tells them

	// keys are where the keys among the arguments are: the first, the last
	// and the step; a negative last counts from the end.
	keys [3]int

	subs []*command // for a command whose first argument says what to do
}

// tableSize is a power of two, and several times the number of commands.
const tableSize = 256

// table is the commands. They are found by a hash of their length and of their
// first and last letter, which is faster than a map's of the whole name; two
// with the same one stand in a row.
type table struct {
	list  []*command // in the order of their names
	slots [tableSize]*command
}

var (
	oneKey   = [3]int{1, 1, 1}
	allKeys  = [3]int{1, -1, 1}
	keyValue = [3]int{1, -1, 2}

	read  = []string{"readonly", "fast"}
	write = []string{"write", "denyoom", "fast"}
	admin = []string{"noscript", "loading", "stale"}
)

// newTable returns all commands.
func newTable() *table {
	t := new(table)
	for _, group := range [][]command{stringCommands, keyCommands, connectionCommands, serverCommands} {
		for _, c := range group {
			t.list = append(t.list, &c)
			i := slot([]byte(c.name))
			for t.slots[i] != nil {
				i = (i + 1) % tableSize
			}
			t.slots[i] = &c
		}
	}
	slices.SortFunc(t.list, func(a, b *command) int { return strings.Compare(a.name, b.name) })
	return t
}

// slot is where to look first for the command called name in any case.
func slot(name []byte) int {
	n := len(name)
	if n == 0 {
		return 0
	}
	return (n + 7*int(lower(name[0])) + 59*int(lower(name[n-1]))) % tableSize
}

// find returns the command called name in any case, nil if there is none.
func (t *table) find(name []byte) *command {
	for i := slot(name); ; i = (i + 1) % tableSize {
		if c := t.slots[i]; c == nil || equalFold(name, c.name) {
			return c
		}
	}
}

// lookup returns the command that args ask for. There is none for a name that
// is not known, nor for a subcommand that is not.
func (t *table) lookup(args [][]byte) *command {
	c := t.find(args[0])
	if c == nil || c.subs == nil || len(args) == 1 {
		return c
	}
	return c.sub(args[1])
}

// sub returns the subcommand called name in any case, nil if there is none.
func (c *command) sub(name []byte) *command {
	for _, sub := range c.subs {
		if equalFold(name, sub.name[len(c.name)+len("|"):]) {
			return sub
		}
	}
	return nil
}

// takes reports whether n arguments, with the name, are right.
func (c *command) takes(n int) bool {
	return n == c.arity || c.arity < 0 && n >= -c.arity
}

// execute runs the command in args, which are one at least. Its reply is in
// x.out then, or it is an error.
func (x *session) execute(args [][]byte) error {
	c := x.server.commands.lookup(args)
	switch {
	case c == nil && isHTTP(args[0]):
		return handler.ErrQuit
	case c == nil:
		x.unknown(args)
		return nil
	case !c.takes(len(args)):
		x.wrongArity(c.name)
		return nil
	}
	x.commands.Add(1)
	return c.run(x, args)
}

// isHTTP reports whether a line is of an HTTP request that can make a browser
// send commands: as Redis does, it ends the connection.
func isHTTP(name []byte) bool { return equalFold(name, "post") || equalFold(name, "host:") }

// maxQuoted is how much an error quotes of what was sent.
const maxQuoted = 128

// unknown answers to what is no command.
func (x *session) unknown(args [][]byte) {
	name := quoted(args[0], maxQuoted)
	if x.server.commands.find(args[0]) != nil {
		x.fail("unknown subcommand '%s'. Try %s HELP.", quoted(args[1], maxQuoted), strings.ToUpper(string(name)))
		return
	}
	var rest []byte
	for _, arg := range args[1:] {
		if len(rest) >= maxQuoted {
			break
		}
		rest = fmt.Appendf(rest, "'%s' ", quoted(arg, maxQuoted-len(rest)))
	}
	x.fail("unknown command '%s', with args beginning with: %s", name, rest)
}

// quoted is what C prints of b when it is told to print n bytes at most.
func quoted(b []byte, n int) []byte { return cString(b[:min(len(b), n)]) }

func (x *session) wrongArity(name string) {
	x.fail("wrong number of arguments for '%s' command", name)
}

// fail answers with an error.
func (x *session) fail(format string, args ...any) {
	x.out = appendError(x.out, "ERR "+fmt.Sprintf(format, args...))
}

// syntaxError answers to an option that is not known, or not in its place.
func (x *session) syntaxError() { x.fail("syntax error") }

// number reads an argument as a number, and answers with an error if it is
// none.
func (x *session) number(arg []byte) (v int64, ok bool) {
	if v, ok = parseInt(arg); !ok {
		x.fail("value is not an integer or out of range")
	}
	return v, ok
}

// equalFold reports whether b is text, which is in small letters, in any case.
func equalFold(b []byte, text string) bool {
	if len(b) != len(text) {
		return false
	}
	for i, c := range b {
		if lower(c) != text[i] {
			return false
		}
	}
	return true
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}
