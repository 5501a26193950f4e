package main

import (
	"fmt"
	"time"
	"unicode/utf8"

	"wireline/admin"
	"wireline/config"
	"wireline/handler"
	"wireline/lib/field"
	"wireline/lib/logger"
	"wireline/tcp"
)

// Config is the configuration: a section of the program's own beside those of the server, of its
// admin side and of the log.
type Config struct {
	TCP   tcp.Config    `config:"tcp"`
	Admin admin.Config  `config:"admin"`
	Log   logger.Config `config:"log"`
	Chat  Chat          `config:"chat"`
}

// Chat says what users may do. Whatever a user can make grow has a bound here.
type Chat struct {
	// MaxName is how many characters a nickname, or the name of a room, may have.
	MaxName int `config:"max_name" default:"24" help:"characters of a nickname, and of a room's name"`

	// MaxLine is how long a line of a user may be, in bytes without its end.
	MaxLine int `config:"max_line,size" default:"1KiB" help:"longest line of a user"`

	// MaxRooms is how many rooms there may be, MaxRoomsPerUser how many of them a user may be in.
	MaxRooms        int `config:"max_rooms" default:"1000" help:"rooms at one time"`
	MaxRoomsPerUser int `config:"max_rooms_per_user" default:"10" help:"rooms that a user may be in"`

	// History is how many messages a room keeps for those who come later. Zero means none.
	History int `config:"history" default:"20" help:"last messages of a room that a newcomer is shown, 0 = none"`

	// MaxPending resets the connection of a user who reads so slowly that this many bytes wait to be
	// sent. The history of a room must fit, since a newcomer is sent all of it at once.
	MaxPending int `config:"max_pending,size" default:"256KiB" help:"reset a connection that reads so slowly that this much waits to be sent"`

	// LoginTimeout closes a connection that has no nickname after this time, whatever it has sent.
	LoginTimeout time.Duration `config:"login_timeout" default:"1m" help:"close a connection that has no nickname after this time"`

	// Silence closes the connection of a user who is silent, or does not end a line. Half of the
	// time before, the user is asked.
	Silence time.Duration `config:"silence" default:"10m" help:"close a connection that has sent nothing for this time; at half of it the user is asked"`

	// Limit is how fast a user may write. Faster lines wait.
	Limit handler.Limit `config:"limit"`

	// OperatorPassword makes a user an operator, who may kick others. Empty means that there are
	// no operators. It is compared with what clean makes of a line.
	OperatorPassword string `config:"operator_password,secret" help:"with it, /oper makes a user an operator, who may /kick others; empty = no operators"`

	// NATS joins several processes to one chat. It is the URL of a NATS server, or several with commas
	// between them; or embedded:HOST:PORT to run a server here, for the other processes too. Empty
	// means that there is one process.
	NATS string `config:"nats,secret" help:"joins several processes to one chat: the URL of a NATS server, or embedded or embedded:HOST:PORT to run one here; empty = one process"`

	// NATSPrefix is the first part of all subjects at the NATS server. Processes with the same one are one
	// chat.
	NATSPrefix string `config:"nats_prefix" default:"chat" help:"first part of the subjects at the NATS server; processes with the same one are one chat"`
}

// Validate reports values that are out of range. config.Load calls it.
func (c *Chat) Validate() error {
	var e field.Errors
	within := func(name string, value, least, most int, reason string) {
		e.Check(least <= value && value <= most, name, value, reason)
	}
	within("MaxName", c.MaxName, 1, 60, "must be between 1 and 60")
	within("MaxLine", c.MaxLine, 64, 64<<10, "must be between 64 and 64 KiB")
	within("MaxRooms", c.MaxRooms, 1, 1e6, "must be between 1 and 1000000")
	within("MaxRoomsPerUser", c.MaxRoomsPerUser, 1, 100, "must be between 1 and 100")
	within("History", c.History, 0, 1000, "must be between 0 and 1000")
	within("MaxPending", c.MaxPending, 4<<10, 1<<30, "must be between 4 KiB and 1 GiB")
	e.Check(c.MaxPending >= c.historyBytes(), "MaxPending", c.MaxPending,
		fmt.Sprintf("must be %d or more, for chat.history messages of up to chat.max_line", c.historyBytes()))
	e.Check(c.LoginTimeout >= time.Second, "LoginTimeout", c.LoginTimeout, "must be a second or more")
	e.Check(c.Silence >= time.Second, "Silence", c.Silence, "must be a second or more")
	e.Check(c.OperatorPassword == clean([]byte(c.OperatorPassword)), "OperatorPassword", "(secret)",
		"must have no blanks at its ends, no two of them beside each other, and no control characters: /oper cannot tell them")
	e.Add(c.checkNATS())
	e.Add((&handler.Frames{Limit: c.Limit}).Validate())
	return e.Err()
}

// historyBytes returns how many bytes the history of a room may have, as a newcomer is sent it. Each byte
// that is not UTF-8 becomes a character of three.
func (c *Chat) historyBytes() int {
	names := 2 * utf8.UTFMax * c.MaxName // of the room and of the user
	const around = 32                    // the age, brackets and the end of the line
	return c.History * (3*c.MaxLine + names + around)
}

// options name the program and its variables, and set defaults of its own.
func options(args, environ []string) config.Options {
	return config.Options{
		Name: "chat", Prefix: "CHAT", Args: append([]string{}, args...), Environ: append([]string{}, environ...),
		Defaults: map[string]string{
			"tcp.address":            "127.0.0.1:4000",
			"tcp.max_clients":        "10000",
			"chat.limit.frames":      "5",
			"chat.limit.frame_burst": "20",
			"chat.limit.bytes":       "16KiB",
		},
		Notes: "Exit codes: 0 clean stop, 1 serving failed or connections were reset, 2 bad usage or configuration, or an address that cannot be bound.",
	}
}
