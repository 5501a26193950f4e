package main

import (
	"path"
	"strconv"
)

var serverCommands = []command{
	{name: "dbsize", arity: 1, run: dbSize, group: "server", since: "1.0.0", flags: read,
		summary: "Count the keys"},
	{name: "flushall", arity: -1, run: flushAll, group: "server", since: "1.0.0", flags: []string{"write"},
		summary: "Delete all keys"},
	{name: "flushdb", arity: -1, run: flushAll, group: "server", since: "1.0.0", flags: []string{"write"},
		summary: "Delete all keys"},
	{name: "info", arity: -1, run: info, group: "server", since: "1.0.0", flags: []string{"loading", "stale"},
		summary: "Get figures of the server"},
	{name: "config", arity: -2, run: noSub, group: "server", since: "2.0.0", flags: admin,
		summary: "Ask about the configuration", subs: []*command{
			{name: "config|get", arity: -3, run: configGet, group: "server", since: "2.0.0", flags: admin,
				summary: "Get the parameters whose names match"},
			{name: "config|help", arity: 2, run: help, group: "server", since: "5.0.0", flags: admin,
				summary: "List the subcommands"},
		}},
	{name: "command", arity: -1, run: commandAll, group: "server", since: "2.8.13", flags: []string{"loading", "stale"},
		summary: "Ask about the commands", subs: []*command{
			{name: "command|count", arity: 2, run: commandCount, group: "server", since: "2.8.13", flags: []string{"loading", "stale"},
				summary: "Count the commands"},
			{name: "command|docs", arity: -2, run: commandDocs, group: "server", since: "7.0.0", flags: []string{"loading", "stale"},
				summary: "Get what there is to say about commands"},
			{name: "command|info", arity: -2, run: commandInfo, group: "server", since: "2.8.13", flags: []string{"loading", "stale"},
				summary: "Get the form of commands"},
			{name: "command|list", arity: -2, run: commandList, group: "server", since: "7.0.0", flags: []string{"loading", "stale"},
				summary: "Get the names of the commands"},
			{name: "command|help", arity: 2, run: help, group: "server", since: "5.0.0", flags: []string{"loading", "stale"},
				summary: "List the subcommands"},
		}},
}

func dbSize(x *session, _ [][]byte) error {
	n := 0
	x.store.each(func(sh *shard) { n += len(sh.keys) })
	x.out = appendInt(x.out, int64(n))
	return nil
}

func flushAll(x *session, args [][]byte) error {
	if len(args) > 2 || len(args) == 2 && !equalFold(args[1], "async") && !equalFold(args[1], "sync") {
		x.syntaxError()
		return nil
	}
	x.store.clear()
	x.ok()
	return nil
}

// parameters are the parameters that CONFIG GET knows: those that tools for Redis ask for.
func (s *server) parameters() [][2]string {
	return [][2]string{
		{"appendonly", "no"},
		{"databases", "1"},
		{"maxmemory", "0"},
		{"proto-max-bulk-len", strconv.Itoa(s.codec.maxBulk())},
		{"save", ""},
	}
}

func configGet(x *session, args [][]byte) error {
	var found []string
	for _, p := range x.server.parameters() {
		if matchesAny(args[2:], p[0]) {
			found = append(found, p[0], p[1])
		}
	}
	x.out = appendArray(x.out, len(found))
	x.bulks(found...)
	return nil
}

// matchesAny reports whether name, which has no slash, matches one of the patterns.
func matchesAny(patterns [][]byte, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(string(appendLower(nil, p)), name); ok {
			return true
		}
	}
	return false
}

func commandAll(x *session, _ [][]byte) error {
	list := x.server.commands.list
	x.out = appendArray(x.out, len(list))
	for _, c := range list {
		x.out = c.appendInfo(x.out)
	}
	return nil
}

func commandCount(x *session, _ [][]byte) error {
	x.out = appendInt(x.out, int64(len(x.server.commands.list)))
	return nil
}

func commandList(x *session, args [][]byte) error {
	if len(args) > 2 { // a filter
		x.syntaxError()
		return nil
	}
	list := x.server.commands.list
	x.out = appendArray(x.out, len(list))
	for _, c := range list {
		x.bulks(c.name)
	}
	return nil
}

func commandInfo(x *session, args [][]byte) error {
	if len(args) == 2 {
		return commandAll(x, args)
	}
	x.out = appendArray(x.out, len(args)-2)
	for _, name := range args[2:] {
		if c := x.server.commands.find(name); c != nil {
			x.out = c.appendInfo(x.out)
		} else {
			x.out = appendNull(x.out)
		}
	}
	return nil
}

func commandDocs(x *session, args [][]byte) error {
	list := x.server.commands.list
	if len(args) > 2 {
		list = nil
		for _, name := range args[2:] {
			if c := x.server.commands.find(name); c != nil {
				list = append(list, c)
			}
		}
	}
	x.out = appendArray(x.out, 2*len(list))
	for _, c := range list {
		x.out = c.appendDocs(x.out)
	}
	return nil
}

// appendInfo appends c's reply to COMMAND INFO: name, arity, flags, the positions of the keys,
// the subcommands, and some lists that are empty here.
func (c *command) appendInfo(dst []byte) []byte {
	dst = appendArray(dst, 10)
	dst = appendBulk(dst, c.name)
	dst = appendInt(dst, int64(c.arity))
	dst = appendArray(dst, len(c.flags))
	for _, f := range c.flags {
		dst = appendStatus(dst, f)
	}
	for _, place := range c.keys {
		dst = appendInt(dst, int64(place))
	}
	for range []string{"categories", "tips", "key specifications"} {
		dst = appendArray(dst, 0)
	}
	dst = appendArray(dst, len(c.subs))
	for _, sub := range c.subs {
		dst = sub.appendInfo(dst)
	}
	return dst
}

// appendDocs appends c's name and its reply to COMMAND DOCS.
func (c *command) appendDocs(dst []byte) []byte {
	dst = appendBulk(dst, c.name)
	pairs := [][2]string{{"summary", c.summary}, {"since", c.since}, {"group", c.group}}
	n := 2 * len(pairs)
	if len(c.subs) > 0 {
		n += 2
	}
	dst = appendArray(dst, n)
	for _, p := range pairs {
		dst = appendBulk(dst, p[0])
		dst = appendBulk(dst, p[1])
	}
	if len(c.subs) > 0 {
		dst = appendBulk(dst, "subcommands")
		dst = appendArray(dst, 2*len(c.subs))
		for _, sub := range c.subs {
			dst = sub.appendDocs(dst)
		}
	}
	return dst
}
