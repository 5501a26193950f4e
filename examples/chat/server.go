package main

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"wireline/handler"
	"wireline/hub"
	"wireline/lib/frame"
)

// server is what all sessions share.
type server struct {
	frames   handler.Frames
	hub      hub.Hub // its keys are nicknames
	rooms    rooms
	config   Chat
	password password
	log      *slog.Logger

	grace  time.Duration // from the announcement of the end until the end
	ending atomic.Bool   // it was announced
}

// newServer returns a server whose users meet those of other processes by bus, if it is not nil.
func newServer(cfg *Config, bus hub.Bus, log *slog.Logger) *server {
	c := cfg.Chat
	s := &server{config: c, password: newPassword(c.OperatorPassword), log: log, grace: cfg.TCP.GraceDelay}
	s.hub.Name = "chat"
	s.hub.MaxName = utf8.UTFMax * c.MaxName
	s.hub.MaxRooms = c.MaxRoomsPerUser
	s.rooms = rooms{hub: &s.hub, max: c.MaxRooms, history: c.History, all: map[string]*room{}}
	if bus != nil {
		s.hub.Bus = recorder{bus, &s.rooms}
	}
	s.frames = handler.Frames{
		Codec:        newCodec(c.MaxLine),
		TooLong:      handler.TooLongDiscard,
		OnOpen:       s.open,
		OnFrame:      func(c *handler.Client, line []byte) error { return sessionOf(c).serve(line) },
		OnError:      s.failed,
		OnIdle:       ask,
		OnEnd:        func(c *handler.Client) { sessionOf(c).end() },
		OnRecord:     handler.LogFailures(log),
		ReadTimeout:  c.Silence,
		FrameTimeout: c.Silence,
		Limit:        c.Limit,
		MaxPending:   c.MaxPending,
		WhenSlow:     handler.SlowClose, // a conversation with gaps would be misunderstood
	}
	if cfg.Log.Connections {
		s.frames.OnRecord = handler.LogRecords(log)
	}
	return s
}

// start connects the hub with those of other processes, if there is a bus.
func (s *server) start() error {
	if err := s.hub.Start(); err != nil {
		return wrongNATS(err)
	}
	return nil
}

// close ends the hub. It is called when all users have gone.
func (s *server) close() { s.hub.Close() }

// open greets a user, who has little time until the login.
func (s *server) open(c *handler.Client) error {
	x := &session{server: s, client: c}
	x.late = time.AfterFunc(s.config.LoginTimeout, func() { c.CloseFor(errLate) }) // any byte would restart a ReadTimeout
	c.Value = x
	if s.ending.Load() {
		x.tell("%s", s.announcement())
	}
	return x.tell("Welcome! What is your nickname?")
}

// ask is called when a user has been silent for half of the time.
func ask(c *handler.Client) error {
	s := sessionOf(c)
	if s.nick == "" {
		return s.tell("What is your nickname?")
	}
	return s.tell("Are you there? Press Enter to stay.")
}

// failed answers a line that is too long. The other errors end the connection, see session.end.
func (s *server) failed(c *handler.Client, err error) {
	if errors.Is(err, frame.ErrTooLong) {
		sessionOf(c).refuse("a line has at most %d bytes; yours was dropped", s.config.MaxLine)
	}
}

// announceEnd tells all users that the server is about to stop. One who is just being greeted may
// miss that, and sees the goodbye only.
func (s *server) announceEnd() {
	s.ending.Store(true)
	m := handler.Message{Payload: []byte("* " + s.announcement())}
	for c := range s.frames.Clients().All() {
		c.Offer(&m)
	}
}

func (s *server) announcement() string {
	if s.grace == 0 {
		return "The server is going down now."
	}
	return fmt.Sprintf("The server is going down in %v.", s.grace)
}
