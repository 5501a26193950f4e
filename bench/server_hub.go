//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"wireline/handler"
	"wireline/hub"
)

// theRoom is the one that all members of a broadcast are in.
const theRoom = "all"

// hall has the works publishing and sending, on a hub.
type hall struct {
	hub  hub.Hub
	work work
	keys []string // of all members that there may be
}

// newHall returns a hall whose members may come again while the hub has not noticed that they
// have left.
func newHall(w work) *hall {
	return &hall{hub: hub.Hub{Second: hub.KickFirst}, work: w, keys: memberKeys(mostMembers)}
}

// serve serves a line, and sends it back.
func (h *hall) serve(c *handler.Client, line []byte) (err error) {
	_, isMember := h.hub.Key(c)
	if n, ok := argument(line, gatherCmd); ok {
		err = h.gather(n)
	} else if bytes.HasPrefix(line, publishCmd) {
		err = h.tell(line)
	} else if !isMember {
		err = h.enter(c, line)
	}
	if err != nil {
		return err
	}
	_, err = c.Write(line)
	return err
}

// enter makes c a member with the key that begins its line.
func (h *hall) enter(c *handler.Client, line []byte) error {
	key, err := keyOf(line)
	if err != nil {
		return err
	}
	if err := h.hub.Join(c, key); err != nil {
		return err
	}
	return h.hub.Enter(c, theRoom)
}

// tell sends the line to all members, as the work demands.
func (h *hall) tell(line []byte) error {
	if h.work != sending {
		_, err := h.hub.Publish(context.Background(), theRoom, line)
		return err
	}
	for _, key := range h.keys[:min(h.hub.Count(), len(h.keys))] {
		if err := h.hub.Send(context.Background(), key, line); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// gather has the members enter n more rooms.
func (h *hall) gather(n int) error {
	var all []*handler.Client
	for _, c := range h.hub.All() {
		all = append(all, c)
	}
	for i := range n * roomMembers {
		if err := h.hub.Enter(all[i%len(all)], "room "+strconv.Itoa(i/roomMembers)); err != nil {
			return err
		}
	}
	return nil
}

// keyOf returns the key that a member's line begins with.
func keyOf(line []byte) (string, error) {
	words := bytes.SplitN(line, []byte(" "), 3)
	if len(words) < 3 {
		return "", fmt.Errorf("no key in %q", line)
	}
	return string(line[:len(words[0])+1+len(words[1])]), nil
}

// argument returns the number after a command.
func argument(line, cmd []byte) (n int, ok bool) {
	rest, ok := bytes.CutPrefix(line, cmd)
	if !ok {
		return 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(digits))
	return n, err == nil
}
