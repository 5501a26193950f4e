package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"wireline/handler"
	"wireline/hub"
)

// maxNotices is how many users a room may have for notices when somebody comes or goes. The notices about
// a crowd that comes or goes cost the square of its size.
const maxNotices = 100

// room is a room that somebody is in. It forgets its history when the last user has left.
type room struct {
	name  string
	hub   *hub.Hub
	users int // under rooms.mu

	// mu is held while a line is sent to the room. So all users see the lines in one order, and a
	// newcomer sees each message once: in the history or as it is said. Nothing waits under it.
	mu     sync.Mutex
	recent history
}

// enter sends a user the last messages, and from then on what is said.
func (r *room) enter(c *handler.Client, nick string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noticeLocked("%s has joined %s", nick, r.name)
	if err := r.hub.Enter(c, r.name); err != nil {
		return err
	}
	for m := range r.recent.all() {
		line := fmt.Sprintf("(%s) %s", ago(time.Since(m.at)), m.line)
		if err := c.Offer(&handler.Message{Payload: []byte(line)}); err != nil {
			return err
		}
	}
	return nil
}

// say sends a message to all in the room, and keeps it for those who come later.
func (r *room) say(nick, text string) error {
	line := fmt.Sprintf("[%s] %s: %s", r.name, nick, text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent.add(message{line, time.Now()})
	return r.publishLocked(line)
}

// hear passes on what was sent to the room in another process, and keeps it if it is a message.
func (r *room) hear(line string, deliver func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(line, "[") { // notices begin with a star
		r.recent.add(message{line, time.Now()})
	}
	deliver()
}

// notice tells all in the room, unless they are many, who comes or goes.
func (r *room) notice(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noticeLocked(format, args...)
}

func (r *room) noticeLocked(format string, args ...any) {
	if r.hub.CountIn(r.name) <= maxNotices {
		r.publishLocked("* " + fmt.Sprintf(format, args...))
	}
}

// publishLocked sends a line to all in the room. A user who does not read is cut, see
// Chat.MaxPending.
func (r *room) publishLocked(line string) error {
	_, err := r.hub.Publish(context.Background(), r.name, []byte(line))
	return err
}
