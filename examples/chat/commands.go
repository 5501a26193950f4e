package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"wireline/handler"
)

// maxListed is how many nicknames /who shows, and how many rooms /list.
const maxListed = 50

// command is what a user may ask for.
type command struct {
	name, args, help string
	run              func(s *session, args string) error
	early            bool // also before the login
}

// commands returns all commands, in the order in which /help shows them.
func commands() []command {
	return []command{
		{"nick", " NAME", "change your nickname", (*session).changeNick, false},
		{"join", " ROOM", "enter a room, or go back to one that you are in", (*session).join, false},
		{"part", " [ROOM]", "leave a room", (*session).part, false},
		{"who", " [ROOM]", "show who is in a room", (*session).who, false},
		{"list", "", "show the rooms", (*session).list, false},
		{"msg", " NAME TEXT", "say something to one user only", (*session).message, false},
		{"oper", " PASSWORD", "become an operator", (*session).becomeOperator, false},
		{"kick", " NAME [WHY]", "close the connection of a user, as an operator", (*session).kick, false},
		{"help", "", "show this", (*session).help, true},
		{"quit", "", "leave", (*session).quit, true},
	}
}

// command runs a command, which line has without its "/".
func (s *session) command(line string) error {
	name, args := cutWord(line)
	for _, c := range commands() {
		switch {
		case !strings.EqualFold(c.name, name):
		case s.nick == "" && !c.early:
			return s.refuse("you need a nickname for that")
		default:
			return c.run(s, args)
		}
	}
	return s.refuse("there is no command /%s; /help shows all, and //text says /text", name)
}

func (s *session) changeNick(args string) error {
	old := s.nick
	if err := s.take(args); err != nil {
		return s.refuse("%s", problem(err))
	}
	if s.nick != old {
		for _, r := range s.joined {
			r.notice("%s is now %s", old, s.nick)
		}
	}
	return s.tell("You are %s.", s.nick)
}

func (s *session) join(args string) error {
	name, err := parseName(args, s.config.MaxName)
	if err != nil {
		return s.refuse("%s", problem(err))
	}
	r := s.in(name)
	if r == nil {
		if r, err = s.enter(name); err != nil {
			return s.refuse("%s", problem(err))
		}
	}
	s.room = r
	return s.tell("You are in %s. It gets what you say now.", name)
}

func (s *session) part(args string) error {
	name, err := s.roomName(args)
	if err != nil {
		return s.refuse("%s", problem(err))
	}
	r := s.in(name)
	if r == nil {
		return s.refuse("you are not in %s", name)
	}
	s.leave(r)
	return s.tell("You have left %s.", name)
}

// roomName returns the name of the room that a command is about: if it names none, the one that
// gets what the user says.
func (s *session) roomName(args string) (string, error) {
	switch {
	case args != "":
		return parseName(args, s.config.MaxName)
	case s.room == nil:
		return "", errors.New("which room?")
	}
	return s.room.name, nil
}

func (s *session) who(args string) error {
	name, err := s.roomName(args)
	if err != nil {
		return s.refuse("%s", problem(err))
	}
	nicks, err := s.hub.Presence(s.client.Context(), name)
	if err != nil { // nicks are those that are known
		s.refuse("some users may be missing: %s", problem(err))
	}
	slices.Sort(nicks)
	return s.tell("In %s: %s", name, enumerate(nicks))
}

func (s *session) list(string) error { return s.tell("Rooms: %s", enumerate(s.rooms.list())) }

// enumerate joins the first of the names to a line that is not too long.
func enumerate(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	more := len(names) - maxListed
	if more <= 0 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:maxListed], ", "), more)
}

func (s *session) message(args string) error {
	to, text := cutWord(args)
	nick, err := parseName(to, s.config.MaxName)
	switch {
	case err != nil:
		return s.refuse("%s", problem(err))
	case text == "":
		return s.refuse("what do you want to say?")
	}
	err = s.hub.Send(s.client.Context(), nick, fmt.Appendf(nil, "[from %s] %s", s.nick, text))
	if err != nil {
		return s.refuse("%s has not got that: %s", nick, problem(err))
	}
	return s.client.WriteFrame(fmt.Appendf(nil, "[to %s] %s", nick, text))
}

func (s *session) becomeOperator(args string) error {
	if !s.password.mayTry() {
		if s.failedTry() {
			return nil
		}
		return s.refuse("there are too many tries now; try again later")
	}
	peer := s.client.RemoteAddr().String()
	if !s.password.is(args) {
		s.log.Warn("wrong operator password", "nick", s.nick, "peer", peer)
		if s.failedTry() {
			return nil
		}
		return s.refuse("that is not the password")
	}
	s.log.Info("operator", "nick", s.nick, "peer", peer)
	s.operator = true
	return s.tell("You are an operator.")
}

func (s *session) kick(args string) error {
	if !s.operator {
		return s.refuse("only operators may do that")
	}
	to, why := cutWord(args)
	nick, err := parseName(to, s.config.MaxName)
	if err != nil {
		return s.refuse("%s", problem(err))
	}
	reason := "kicked by " + s.nick
	if why != "" {
		reason += ": " + why
	}
	if err := s.hub.Kick(s.client.Context(), nick, errors.New(reason)); err != nil {
		return s.refuse("%s was not kicked: %s", nick, problem(err))
	}
	s.log.Info("kicked", "nick", nick, "by", s.nick, "why", why)
	return s.tell("You have kicked %s.", nick)
}

func (s *session) help(string) error {
	for _, c := range commands() {
		s.tell("/%s%s: %s", c.name, c.args, c.help)
	}
	if s.nick == "" {
		return s.tell("What is your nickname?")
	}
	return s.tell("Any other line goes to your room.")
}

func (s *session) quit(string) error {
	s.tell("Goodbye.")
	return handler.ErrQuit
}
