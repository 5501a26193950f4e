package hub_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"wireline/handler"
	"wireline/hub"
	"wireline/internal/testutil"
)

// stats compares the Stats of a house. Those of the bus are not its own.
func (e *house) stats(t *testing.T, want hub.Stats) {
	t.Helper()
	got := e.Stats()
	got.Bus = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stats\n %+v, want\n %+v", got, want)
	}
}

func TestStats(t *testing.T) {
	cl := newCluster(t, 2, hub.KickFirst).start(t)
	here, there := cl.houses[0], cl.houses[1]
	here.stats(t, hub.Stats{})

	// Joins and ends.
	a, b := here.joined(t, "a", "x", "y"), here.joined(t, "b", "x")
	want := hub.Stats{Clients: 2, Rooms: 2, Memberships: 3, Joined: 2}
	here.stats(t, want)
	b.does("join b2", "ok") // another key
	b.does("exit x", "ok")
	b.does("leave", "ok")
	want = hub.Stats{Clients: 1, Rooms: 2, Memberships: 2, Joined: 2, Left: 1}
	here.stats(t, want)
	here.joined(t, "a") // replaces the first
	a.ends()
	there.joined(t, "a") // and that one
	b.does("join ", hub.ErrName.Error())
	want = hub.Stats{Joined: 3, Left: 3, Replaced: 2}
	here.stats(t, want)
	cl.setAway(true)
	b.does("join b", "no route: "+hub.ErrAway.Error())
	want.Failed = 1

	// Messages to keys. a is in the other process.
	here.send(t, "a", "hello", hub.ErrAway)
	cl.setAway(false)
	here.send(t, "a", "hello", nil)
	here.send(t, "nobody", "hello", hub.ErrUnknown)
	want.Sends = hub.SendStats{Sent: 1, Unknown: 1, Failed: 1}
	here.stats(t, want)
	there.stats(t, hub.Stats{Clients: 1, Joined: 1})
	expect(t, "kick", here.Kick(t.Context(), "a", nil), nil)
	testutil.Eventually(t, "the client has left", func() bool { return there.Count() == 0 })
	there.stats(t, hub.Stats{Joined: 1, Left: 1, Kicked: 1})

	// Messages to rooms.
	there.joined(t, "c", "x")
	here.publish(t, "x", "hello", hub.Published{})
	there.publish(t, "x", "hello", hub.Published{Sent: 1})
	cl.setAway(true)
	here.Publish(t.Context(), "x", nil)
	cl.setAway(false)
	want.Publishes = hub.PublishStats{Messages: 2, Failed: 1}
	here.stats(t, want)
	there.stats(t, hub.Stats{Clients: 1, Rooms: 1, Memberships: 1, Joined: 2, Left: 1, Kicked: 1,
		Publishes: hub.PublishStats{Messages: 1, Sent: 2}})

	// Requests.
	c := here.joined(t, "d")
	answer := there.request(t.Context(), "d", "1 x")
	c.gets("1 x")
	if s := there.Stats().Requests; s != (hub.RequestStats{Waiting: 1}) {
		t.Errorf("requests %+v", s)
	}
	c.does("1 y", "ok")
	testutil.Await(t, "the answer", answer)
	testutil.Await(t, "the error", there.request(t.Context(), "nobody", "1 x"))
	if s := there.Stats().Requests; s != (hub.RequestStats{Answered: 1, Failed: 1}) {
		t.Errorf("requests %+v", s)
	}

	// A key that is lost.
	cl.owners["d"][0].lose()
	if s := here.Stats(); s.Replaced != 3 || s.Left != 4 {
		t.Errorf("stats %+v", s)
	}
}

// Each result of Send has a count, also one of another process.
func TestStatsOfSends(t *testing.T) {
	cl := newCluster(t, 1, hub.RefuseSecond)
	e, bus := cl.houses[0], cl.buses[0]
	for _, err := range []error{hub.ErrLost, handler.ErrSlowReader, handler.ErrSlowReader, handler.ErrClosed, hub.ErrUnknown} {
		bus.sendErr = fmt.Errorf("there: %w", err)
		e.send(t, "k", "hello", err)
	}
	if got := e.Stats().Sends; got != (hub.SendStats{Slow: 2, Gone: 1, Unknown: 1, Failed: 1}) {
		t.Errorf("stats %+v", got)
	}
}

// What slow and ended clients miss is counted.
func TestStatsOfSlowClients(t *testing.T) {
	e := newHouse(t, new(hub.Hub), func(f *handler.Frames) { f.MaxPending, f.WhenSlow = 10_000, handler.SlowDrop })
	e.joined(t, "slow", "room")
	e.dial(t).does("join slow", hub.ErrTaken.Error())
	line := []byte(strings.Repeat("x", 999))
	testutil.Eventually(t, "the slow client to be told apart", func() bool {
		return errors.Is(e.Send(t.Context(), "slow", line), handler.ErrSlowReader)
	})
	p, _ := e.Publish(t.Context(), "room", line)
	s := e.Stats()
	if p.Slow != 1 || s.Publishes != (hub.PublishStats{Messages: 1, Slow: 1}) {
		t.Errorf("published %+v, stats %+v", p, s.Publishes)
	}
	if s.Sends.Slow != 1 || s.Sends.Sent == 0 || s.Sends.Gone+s.Sends.Unknown+s.Sends.Failed > 0 {
		t.Errorf("stats %+v", s.Sends)
	}
	if s.Refused != 1 || s.Bus != nil {
		t.Errorf("stats %+v", s)
	}
	e.joined(t, "other", "lobby")
	p, _ = e.Publish(t.Context(), "lobby", []byte("two\nlines")) // no frame of this codec
	if s := e.Stats().Publishes; p.Gone != 1 || s.Gone != 1 {
		t.Errorf("published %+v, stats %+v", p, s)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	e.Publish(ended, "room", line)
	if s := e.Stats().Publishes; s.Failed != 1 {
		t.Errorf("stats %+v", s)
	}
}
