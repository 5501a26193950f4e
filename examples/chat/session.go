package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"wireline/handler"
	"wireline/hub"
)

// maxTries is how often a user may try a nickname at the login, or a password.
const maxTries = 5

var (
	errTries = errors.New("too many tries")
	errLate  = errors.New("no nickname has come in time")
)

// session is a user. Only the functions of handler.Frames use it, which do not overlap for one
// connection, so it needs no lock.
type session struct {
	*server
	client *handler.Client

	nick     string      // empty until the login
	late     *time.Timer // ends a user who has no nickname by then
	joined   []*room     // the rooms that the user is in
	room     *room       // the one of them that gets what the user says; nil if there is none
	operator bool
	tries    int // of a nickname at the login, later of a password
}

func sessionOf(c *handler.Client) *session { return c.Value.(*session) }

// serve serves a line: a nickname at first, later a command or what the user says.
func (s *session) serve(line []byte) error {
	text := clean(line)
	said, isSaid := strings.CutPrefix(text, "//")
	switch {
	case text == "":
		return nil
	case text[0] == '/' && !isSaid:
		return s.command(text[1:])
	case s.nick == "":
		return s.login(text)
	case isSaid:
		return s.say("/" + said)
	}
	return s.say(text)
}

// login gives the user the nickname.
func (s *session) login(nick string) error {
	if err := s.take(nick); err != nil {
		away := errors.Is(err, hub.ErrAway) || errors.Is(err, hub.ErrLost) // which is not the user's fault
		if !away && s.failedTry() {
			return nil
		}
		s.refuse("%s", problem(err))
		return s.tell("What is your nickname?")
	}
	s.tries = 0
	s.late.Stop()
	return s.tell("You are %s. Enter a room with /join ROOM; /help shows all commands.", s.nick)
}

// take gives the user a nickname, in the place of the one before.
func (s *session) take(text string) error {
	nick, err := parseName(text, s.config.MaxName)
	if err != nil {
		return err
	}
	if err := s.hub.Join(s.client, nick); err != nil {
		return err
	}
	s.nick = nick
	s.client.SetAttr(slog.String("nick", nick)) // for the log
	return nil
}

// failedTry counts a try that has failed. After too many it closes the connection, and reports true.
func (s *session) failedTry() (closed bool) {
	if s.tries++; s.tries < maxTries {
		return false
	}
	s.client.CloseFor(errTries)
	return true
}

// say sends a message to the user's room.
func (s *session) say(text string) error {
	if s.room == nil {
		return s.refuse("you are in no room; enter one with /join ROOM")
	}
	err := s.room.say(s.nick, text)
	if errors.Is(err, hub.ErrAway) {
		return s.refuse("only users of this server have seen that: %s", problem(err))
	}
	return err
}

// enter puts the user into a room that the user is not in.
func (s *session) enter(name string) (*room, error) {
	if most := s.config.MaxRoomsPerUser; len(s.joined) >= most {
		return nil, fmt.Errorf("you are in %d rooms; leave one with /part ROOM", most)
	}
	r, err := s.rooms.get(name)
	if err != nil {
		return nil, err
	}
	if err := r.enter(s.client, s.nick); err != nil {
		s.rooms.put(r)
		return nil, err
	}
	s.joined = append(s.joined, r)
	return r, nil
}

// leave takes the user out of a room.
func (s *session) leave(r *room) {
	s.hub.Exit(s.client, r.name)
	s.rooms.put(r)
	s.joined = slices.DeleteFunc(s.joined, func(other *room) bool { return other == r })
	if s.room == r {
		s.room = nil
	}
	r.notice("%s has left %s", s.nick, r.name)
}

// in returns the room with the name if the user is in it, or nil.
func (s *session) in(name string) *room {
	for _, r := range s.joined {
		if r.name == name {
			return r
		}
	}
	return nil
}

// end gives up the nickname and the rooms of a user whose connection ends, and says why it ends if
// the server wants that.
func (s *session) end() {
	s.late.Stop()
	record := s.client.Record()
	if why := s.farewell(record); why != "" {
		s.tell("Goodbye: %s.", why)
	}
	s.hub.Leave(s.client)
	allLeave := record.Reason == handler.ReasonDrain && s.hub.Bus == nil // with a bus, the users of other processes stay
	for _, r := range s.joined {
		s.rooms.put(r)
		if !allLeave {
			r.notice("%s has left %s", s.nick, r.name)
		}
	}
}

// farewell says why the server ends the connection; it is empty if the client does.
func (s *session) farewell(r handler.Record) string {
	switch r.Reason {
	case handler.ReasonDrain:
		return "the server is going down"
	case handler.ReasonReadTimeout, handler.ReasonFrameTimeout:
		return fmt.Sprintf("no line has come from you in %v", s.config.Silence)
	case handler.ReasonKicked:
		return "the administrator has closed your connection"
	case handler.ReasonApplication:
		return problem(r.Err)
	}
	return ""
}

// tell sends the user a line with information.
func (s *session) tell(format string, args ...any) error {
	return s.client.WriteFrame(fmt.Appendf(nil, "* "+format, args...))
}

// refuse sends the user a line that says why something was not done.
func (s *session) refuse(format string, args ...any) error {
	return s.client.WriteFrame(fmt.Appendf(nil, "! "+format, args...))
}
