package main

import (
	"math"
	"strings"

	"wireline/handler"
)

// version is the Redis version that this server reports to clients.
const version = "7.0.0"

var connectionCommands = []command{
	{name: "ping", arity: -1, run: ping, group: "connection", since: "1.0.0", flags: []string{"fast"},
		summary: "Get an answer"},
	{name: "echo", arity: 2, run: echo, group: "connection", since: "1.0.0", flags: []string{"fast"},
		summary: "Get a string back"},
	{name: "quit", arity: -1, run: quit, group: "connection", since: "1.0.0", flags: admin,
		summary: "Close the connection"},
	{name: "select", arity: 2, run: selectDB, group: "connection", since: "1.0.0", flags: admin,
		summary: "Choose the database; there is one, 0"},
	{name: "auth", arity: -2, run: auth, group: "connection", since: "1.0.0", flags: admin,
		summary: "Say who one is; the user default needs no password"},
	{name: "hello", arity: -1, run: hello, group: "connection", since: "6.0.0", flags: admin,
		summary: "Choose the protocol; there is one, 2"},
	{name: "client", arity: -2, run: noSub, group: "connection", since: "2.4.0", flags: admin,
		summary: "Ask and tell about the connection", subs: []*command{
			{name: "client|getname", arity: 2, run: clientGetName, group: "connection", since: "2.6.9", flags: admin,
				summary: "Get the name of the connection"},
			{name: "client|id", arity: 2, run: clientID, group: "connection", since: "5.0.0", flags: admin,
				summary: "Get the number of the connection"},
			{name: "client|setinfo", arity: 4, run: clientSetInfo, group: "connection", since: "7.2.0", flags: admin,
				summary: "Tell about the client's library; it is not kept"},
			{name: "client|setname", arity: 3, run: clientSetName, group: "connection", since: "2.6.9", flags: admin,
				summary: "Set the name of the connection"},
			{name: "client|help", arity: 2, run: help, group: "connection", since: "5.0.0", flags: admin,
				summary: "List the subcommands"},
		}},
}

func ping(x *session, args [][]byte) error {
	switch len(args) {
	case 1:
		x.out = append(x.out, "+PONG\r\n"...)
	case 2:
		x.out = appendBulk(x.out, args[1])
	default:
		x.wrongArity("ping")
	}
	return nil
}

func echo(x *session, args [][]byte) error {
	x.out = appendBulk(x.out, args[1])
	return nil
}

func quit(x *session, _ [][]byte) error {
	x.ok()
	return handler.ErrQuit
}

func selectDB(x *session, args [][]byte) error {
	n, ok := x.number(args[1])
	switch {
	case !ok:
	case n < math.MinInt32 || n > math.MaxInt32:
		x.fail("value is out of range, value must between %d and %d", math.MinInt32, math.MaxInt32)
	case n != 0:
		x.fail("DB index is out of range")
	default:
		x.ok()
	}
	return nil
}

func auth(x *session, args [][]byte) error {
	switch {
	case len(args) > 3:
		x.syntaxError()
	case len(args) == 2:
		x.fail("AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	case string(args[1]) != "default":
		x.wrongPassword()
	default:
		x.ok()
	}
	return nil
}

func (x *session) wrongPassword() {
	x.out = appendError(x.out, "WRONGPASS invalid username-password pair or user is disabled.")
}

// hello is HELLO [version [AUTH user password] [SETNAME name]].
func hello(x *session, args [][]byte) error {
	name := x.name
	if len(args) > 1 {
		var ok bool
		if name, ok = x.helloOptions(args); !ok {
			return nil
		}
	}
	x.name = name
	x.out = appendArray(x.out, 14)
	x.bulks("server", "redis", "version", version, "proto")
	x.out = appendInt(x.out, 2)
	x.bulks("id")
	x.out = appendInt(x.out, int64(x.client.ID()))
	x.bulks("mode", "standalone", "role", "master", "modules")
	x.out = appendArray(x.out, 0)
	return nil
}

// helloOptions parses the version and the options. It replies with an error if they are wrong.
func (x *session) helloOptions(args [][]byte) (name string, ok bool) {
	v, ok := parseInt(args[1])
	switch {
	case !ok:
		x.fail("Protocol version is not an integer or out of range")
		return "", false
	case v != 2:
		x.out = appendError(x.out, "NOPROTO unsupported protocol version")
		return "", false
	}
	name = x.name
	for i := 2; i < len(args); {
		rest := args[i+1:]
		switch {
		case equalFold(args[i], "auth") && len(rest) >= 2:
			if string(rest[0]) != "default" {
				x.wrongPassword()
				return "", false
			}
			i += 3
		case equalFold(args[i], "setname") && len(rest) >= 1:
			if !x.validName(rest[0]) {
				return "", false
			}
			name = string(rest[0])
			i += 2
		default:
			x.fail("Syntax error in HELLO option '%s'", cString(args[i]))
			return "", false
		}
	}
	return name, true
}

// validName replies with an error if name is not valid for a connection.
func (x *session) validName(name []byte) bool {
	if !printable(name) {
		x.fail("Client names cannot contain spaces, newlines or special characters.")
		return false
	}
	return true
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func clientID(x *session, _ [][]byte) error {
	x.out = appendInt(x.out, int64(x.client.ID()))
	return nil
}

func clientGetName(x *session, _ [][]byte) error {
	if x.name == "" {
		x.out = appendNull(x.out)
	} else {
		x.bulks(x.name)
	}
	return nil
}

func clientSetName(x *session, args [][]byte) error {
	if x.validName(args[2]) {
		x.name = string(args[2])
		x.ok()
	}
	return nil
}

func clientSetInfo(x *session, args [][]byte) error {
	known := equalFold(args[2], "lib-name") || equalFold(args[2], "lib-ver")
	switch {
	case !known:
		x.fail("Unrecognized option '%s'", cString(args[2]))
	case !printable(args[3]):
		x.fail("%s cannot contain spaces, newlines or special characters.", args[2])
	default:
		x.ok()
	}
	return nil
}

// noSub is a command with subcommands when it is called without one. It is never called: the
// command's arity rules that out.
func noSub(*session, [][]byte) error { return nil }

// help lists the subcommands of a command, as its subcommand HELP.
func help(x *session, args [][]byte) error {
	c := x.server.commands.find(args[0])
	name := strings.ToUpper(c.name)
	x.out = appendArray(x.out, 1+2*len(c.subs))
	x.out = appendStatus(x.out, name+" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, sub := range c.subs {
		x.out = appendStatus(x.out, strings.ToUpper(strings.TrimPrefix(sub.name, c.name+"|")))
		x.out = appendStatus(x.out, "    "+sub.summary+".")
	}
	return nil
}

func (x *session) ok() { x.out = appendStatus(x.out, "OK") }

// bulks replies with an array of strings.
func (x *session) bulks(texts ...string) {
	for _, text := range texts {
		x.out = appendBulk(x.out, text)
	}
}
