package main

import (
	"fmt"
	"strconv"
	"strings"

	"wireline/handler"
)

// command is an entry of the table of commands.
type command struct {
	run func(x *session, arg string) error

	// open is set for the commands that a client may use without TLS if TLS is required
	// (RFC 3207, 4).
	open bool
}

// commands has the commands by their names.
var commands = map[string]command{
	"EHLO":     {(*session).ehlo, true},
	"HELO":     {(*session).helo, false},
	"MAIL":     {(*session).mailFrom, false},
	"RCPT":     {(*session).rcptTo, false},
	"DATA":     {(*session).data, false},
	"RSET":     {(*session).rset, false},
	"NOOP":     {(*session).noop, true},
	"VRFY":     {(*session).vrfy, false},
	"QUIT":     {(*session).quit, true},
	"STARTTLS": {(*session).starttls, true},
	"AUTH":     {(*session).auth, false},
	"EXPN":     {(*session).unknown, false},
	"HELP":     {(*session).unknown, false},
}

// Replies that several commands use.
const (
	badArguments = "501 5.5.4 syntax error in arguments"
	noHello      = "503 5.5.1 EHLO first"
	needsTLS     = "530 5.7.0 STARTTLS first"
)

// command executes a command. White space at its end is allowed (RFC 5321, 4.1.1).
func (x *session) command(line string) error {
	line = strings.TrimRight(line, " \t")
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			return x.refuse("500 5.5.2 a command is printable ASCII")
		}
	}
	verb, arg, _ := strings.Cut(line, " ")
	cmd, ok := commands[strings.ToUpper(verb)]
	switch {
	case !ok:
		return x.refuse("500 5.5.2 unknown command")
	case x.server.config.RequireTLS && !cmd.open && !x.secure():
		return x.refuse(needsTLS)
	}
	return cmd.run(x, arg)
}

func (x *session) helo(arg string) error {
	if !validHello(arg) {
		return x.refuse(badArguments)
	}
	x.hello, x.esmtp, x.mail = arg, false, nil
	return x.reply("250 " + x.server.config.hostname())
}

// ehlo replies with the extensions. It also resets the transaction (RFC 5321, 4.1.4).
func (x *session) ehlo(arg string) error {
	if !validHello(arg) {
		return x.refuse(badArguments)
	}
	x.hello, x.esmtp, x.mail = arg, true, nil
	c := &x.server.config
	lines := []string{
		c.hostname(),
		"PIPELINING",
		"8BITMIME",
		"ENHANCEDSTATUSCODES",
		fmt.Sprint("SIZE ", c.maxSize()),
	}
	secure := x.secure()
	if c.TLS != nil && !secure {
		lines = append(lines, "STARTTLS")
	}
	if c.Users != nil && secure {
		lines = append(lines, "AUTH PLAIN")
	}
	last := len(lines) - 1
	var b strings.Builder
	for _, line := range lines[:last] {
		b.WriteString("250-" + line + "\r\n")
	}
	return x.reply(b.String() + "250 " + lines[last])
}

func (x *session) mailFrom(arg string) error {
	c := &x.server.config
	switch {
	case x.hello == "":
		return x.refuse(noHello)
	case x.mail != nil:
		return x.refuse("503 5.5.1 sender already given")
	case c.RequireAuth && x.user == "":
		return x.refuse("530 5.7.0 authentication required")
	}
	path, params, ok := parsePath(arg, "FROM:")
	switch {
	case !ok:
		return x.refuse(badArguments)
	case path != "" && !validMailbox(path):
		return x.refuse("501 5.1.7 bad sender address")
	}
	if refusal := x.mailParams(params); refusal != "" {
		return x.refuse(refusal)
	}
	x.mail = &mail{from: path}
	return x.reply("250 2.1.0 ok")
}

// mailParams checks the parameters of MAIL. It returns the reply if one is refused.
func (x *session) mailParams(params string) (refusal string) {
	for param := range strings.FieldsSeq(params) {
		key, value, _ := strings.Cut(param, "=")
		switch key = strings.ToUpper(key); {
		case !x.esmtp:
			return "555 5.5.4 parameters need EHLO"
		case key == "SIZE": // RFC 1870
			size, err := strconv.ParseUint(value, 10, 64)
			switch {
			case err != nil:
				return badArguments
			case size > uint64(x.server.config.maxSize()):
				return x.server.config.tooBig()
			}
		case key == "BODY": // RFC 6152
			if body := strings.ToUpper(value); body != "7BIT" && body != "8BITMIME" {
				return badArguments
			}
		case key == "AUTH" && x.server.config.Users != nil: // RFC 4954, 5: may be ignored
		default:
			return "555 5.5.4 unknown parameter"
		}
	}
	return ""
}

func (x *session) rcptTo(arg string) error {
	if x.mail == nil {
		return x.refuse("503 5.5.1 MAIL first")
	}
	path, params, ok := parsePath(arg, "TO:")
	switch {
	case !ok:
		return x.refuse(badArguments)
	case params != "":
		return x.refuse("555 5.5.4 unknown parameter")
	case !strings.EqualFold(path, "postmaster") && !validMailbox(path):
		return x.refuse("501 5.1.3 bad recipient address")
	case !x.server.config.accepts(path):
		return x.refuse("550 5.7.1 not a recipient here")
	case len(x.mail.to) >= x.server.config.maxRecipients():
		// Not an error: the client sends the others in another transaction (RFC 5321,
		// 4.5.3.1.10).
		return x.reply("452 4.5.3 too many recipients")
	}
	x.mail.to = append(x.mail.to, path)
	return x.reply("250 2.1.5 ok")
}

// accepts reports whether the recipient is one of the server. "postmaster" without a domain
// always is (RFC 5321, 4.5.1).
func (c *Config) accepts(mailbox string) bool {
	_, domain := cutMailbox(mailbox)
	if len(c.Domains) == 0 || domain == "" {
		return true
	}
	for _, d := range c.Domains {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}

func (x *session) data(arg string) error {
	switch {
	case arg != "":
		return x.refuse(badArguments)
	case x.mail == nil:
		return x.refuse("503 5.5.1 MAIL first")
	case len(x.mail.to) == 0:
		return x.refuse("554 5.5.1 no valid recipients")
	}
	err := x.reply("354 send the message, end it with <CRLF>.<CRLF>")
	x.beginMessage()
	return err
}

func (x *session) rset(arg string) error {
	if arg != "" {
		return x.refuse(badArguments)
	}
	x.mail = nil
	return x.reply("250 2.0.0 ok")
}

func (x *session) noop(string) error { return x.reply("250 2.0.0 ok") }

// vrfy does not tell who has a mailbox (RFC 5321, 7.3).
func (x *session) vrfy(arg string) error {
	if arg == "" {
		return x.refuse(badArguments)
	}
	return x.reply("252 2.0.0 send a message to find out")
}

func (x *session) quit(arg string) error {
	if arg != "" {
		return x.refuse(badArguments)
	}
	x.reply("221 2.0.0 bye")
	return handler.ErrQuit
}

func (x *session) unknown(string) error { return x.refuse("502 5.5.1 not implemented") }
