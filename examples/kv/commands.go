package main

import (
	"fmt"
	"slices"
	"strings"

	"wireline/handler"
)

// command is a command, or a subcommand of one.
type command struct {
	name    string // in lower case; "client|id" for a subcommand
	arity   int    // number of arguments, with its name; negative means at least
	run     func(x *session, args [][]byte) error
	group   string
	since   string // the Redis version that introduced it
	summary string
	flags   []string // as in the reply to COMMAND

	// keys are the positions of the keys among the arguments: the first, the last and the
	// step. A negative last counts from the end.
	keys [3]int

	subs []*command // of a command whose first argument selects one
}

// tableSize is a power of two, and several times the number of commands.
const tableSize = 256

// table holds the commands, as a hash table with linear probing. The hash is of the length and
// of the first and last letter, which is faster than a map's hash of the whole name.
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

// slot is the first slot to search for the command called name, in any case.
func slot(name []byte) int {
	n := len(name)
	if n == 0 {
		return 0
	}
	return (n + 7*int(lower(name[0])) + 59*int(lower(name[n-1]))) % tableSize
}

// find returns the command called name, in any case, or nil.
func (t *table) find(name []byte) *command {
	for i := slot(name); ; i = (i + 1) % tableSize {
		if c := t.slots[i]; c == nil || equalFold(name, c.name) {
			return c
		}
	}
}

// lookup returns the command that args ask for. It returns nil if the name or the subcommand
// is unknown.
func (t *table) lookup(args [][]byte) *command {
	c := t.find(args[0])
	if c == nil || c.subs == nil || len(args) == 1 {
		return c
	}
	return c.sub(args[1])
}

// sub returns the subcommand called name, in any case, or nil.
func (c *command) sub(name []byte) *command {
	for _, sub := range c.subs {
		if equalFold(name, sub.name[len(c.name)+len("|"):]) {
			return sub
		}
	}
	return nil
}

// takes reports whether c accepts n arguments, including the name.
func (c *command) takes(n int) bool {
	return n == c.arity || c.arity < 0 && n >= -c.arity
}

// execute runs the command in args, of which there is at least one. Its reply, or an error, is
// in x.out then.
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

// isHTTP reports whether a line belongs to an HTTP request, by which a browser can be made to
// send commands. As in Redis, it ends the connection.
func isHTTP(name []byte) bool { return equalFold(name, "post") || equalFold(name, "host:") }

// maxQuoted is how many bytes of the input an error quotes.
const maxQuoted = 128

// unknown replies to an unknown command.
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

// quoted returns what C prints of b, at most n bytes.
func quoted(b []byte, n int) []byte { return cString(b[:min(len(b), n)]) }

func (x *session) wrongArity(name string) {
	x.fail("wrong number of arguments for '%s' command", name)
}

// fail replies with an error.
func (x *session) fail(format string, args ...any) {
	x.out = appendError(x.out, "ERR "+fmt.Sprintf(format, args...))
}

// syntaxError replies to an option that is unknown or misplaced.
func (x *session) syntaxError() { x.fail("syntax error") }

// number parses an argument as a number. It replies with an error if it is not one.
func (x *session) number(arg []byte) (v int64, ok bool) {
	if v, ok = parseInt(arg); !ok {
		x.fail("value is not an integer or out of range")
	}
	return v, ok
}

// equalFold reports whether b is text, in any case. text is in lower case.
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
