package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/hub"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// cluster is several houses whose hubs meet at a broker.
type cluster struct {
	broker
	houses []*house
}

func newCluster(t *testing.T, n int, second hub.Second) *cluster {
	t.Helper()
	cl := &cluster{broker: broker{owners: map[string][]*memClaim{}}}
	for range n {
		h := &hub.Hub{Second: second, ID: ids, MaxName: 20}
		cl.newBus(t, h)
		cl.houses = append(cl.houses, newHouse(t, h, func(f *handler.Frames) { f.MaxPending, f.WhenSlow = 10_000, handler.SlowDrop }))
	}
	return cl
}

// start has each hub be known at the broker.
func (cl *cluster) start(t *testing.T) *cluster {
	t.Helper()
	for _, e := range cl.houses {
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return cl
}

// expect checks the error of a call.
func expect(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestSendToAnotherProcess(t *testing.T) {
	cl := newCluster(t, 2, hub.RefuseSecond)
	here, there := cl.houses[0], cl.houses[1]
	a, b := here.joined(t, "a"), there.joined(t, "b")
	here.send(t, "a", "for a", nil)
	if n := cl.buses[0].count("Send"); n != 0 {
		t.Errorf("a message for a client of this process went to the bus")
	}
	here.send(t, "b", "for b", nil)
	there.send(t, "a", "also for a", nil)
	a.gets("for a\nalso for a")
	b.gets("for b")
	here.send(t, "nobody", "x", hub.ErrUnknown)
	here.send(t, "", "x", hub.ErrName)
	here.send(t, strings.Repeat("x", 21), "x", hub.ErrName)
	there.joined(t, "slow")
	line := strings.Repeat("x", 999)
	testutil.Eventually(t, "the slow client to be told apart", func() bool {
		return errors.Is(here.Send(t.Context(), "slow", []byte(line)), handler.ErrSlowReader)
	})
	b.end()
	testutil.Eventually(t, "the client has left", func() bool {
		return errors.Is(here.Send(t.Context(), "b", nil), hub.ErrUnknown)
	})
}

// With AllowBoth a message goes to the clients of all processes, and one of them is enough.
func TestSendToBoth(t *testing.T) {
	cl := newCluster(t, 3, hub.AllowBoth)
	here, there := cl.houses[0], cl.houses[1]
	a, b := here.joined(t, "k"), there.joined(t, "k")
	for _, e := range cl.houses {
		e.send(t, "k", "hello", nil)
		a.gets("hello")
		b.gets("hello")
	}
	a.does("leave", "ok")
	here.send(t, "k", "again", nil)
	b.gets("again")
	there.send(t, "k", "there", nil)
	b.gets("there")
	cl.setAway(true)
	there.send(t, "k", "alone", nil)
	b.gets("alone")
	here.send(t, "k", "lost", hub.ErrAway)
	cl.setAway(false)

	slow := here.joined(t, "slow")
	line := strings.Repeat("x", 999)
	isSlow := func() bool { return errors.Is(here.Send(t.Context(), "slow", []byte(line)), handler.ErrSlowReader) }
	testutil.Eventually(t, "the slow client to be told apart, though no other process has the key", isSlow)
	cl.setAway(true)
	if !isSlow() || !errors.Is(here.Send(t.Context(), "slow", []byte(line)), hub.ErrAway) {
		t.Error("both errors are not reported")
	}
	slow.Close()
}

func TestKick(t *testing.T) {
	why := errors.New("not paid")
	for _, second := range []hub.Second{hub.KickFirst, hub.AllowBoth} {
		cl := newCluster(t, 2, second)
		here, there := cl.houses[0], cl.houses[1]
		expect(t, "kick of nobody", here.Kick(t.Context(), "k", why), hub.ErrUnknown)
		expect(t, "kick of no name", here.Kick(t.Context(), "", why), hub.ErrName)
		kicked := func(e *house, c *client, want string) {
			t.Helper()
			c.ends()
			c.Close()
			if r := e.records.Next(t); r.Reason != handler.ReasonApplication || fmt.Sprint(r.Err) != want {
				t.Errorf("record %+v", r)
			}
			testutil.Eventually(t, "the client has left", func() bool { return e.Count() == 0 })
		}
		for _, by := range cl.houses {
			c := here.joined(t, "k")
			expect(t, "kick", by.Kick(t.Context(), "k", why), nil)
			kicked(here, c, "not paid")
		}
		c := here.joined(t, "k")
		expect(t, "kick without a reason", there.Kick(t.Context(), "k", nil), nil)
		kicked(here, c, "<nil>")
		if second == hub.AllowBoth {
			a, b := here.joined(t, "k"), there.joined(t, "k")
			expect(t, "kick of both", here.Kick(t.Context(), "k", why), nil)
			kicked(here, a, "not paid")
			kicked(there, b, "not paid")
			a, b = here.joined(t, "k"), there.joined(t, "k")
			cl.setAway(true)
			expect(t, "kick of one of two", here.Kick(t.Context(), "k", why), hub.ErrAway)
			kicked(here, a, "not paid")
			expect(t, "kick of the other", there.Kick(t.Context(), "k", why), hub.ErrAway)
			kicked(there, b, "not paid")
		}
		cl.setAway(true)
		expect(t, "kick while the bus is away", here.Kick(t.Context(), "k", why), hub.ErrAway)
	}
}

// A client is kicked once, also if Kick is called again before it has left.
func TestKickAgain(t *testing.T) {
	e := newHouse(t, &hub.Hub{}, nil)
	const clients = 30
	for range clients {
		c := e.joined(t, "k")
		expect(t, "kick", e.Kick(t.Context(), "k", nil), nil)
		for range 5 {
			expect(t, "another kick", e.Kick(t.Context(), "k", nil), hub.ErrUnknown)
		}
		c.ends()
		c.Close()
	}
	if n := e.Stats().Kicked; n != clients {
		t.Errorf("%d were kicked", n)
	}
}

// The messages of a room reach all processes, in their order. A process listens to a room while a
// client of its own is in it.
func TestPublishToAllProcesses(t *testing.T) {
	cl := newCluster(t, 3, hub.RefuseSecond)
	var clients []*client
	for i, e := range cl.houses {
		clients = append(clients, e.joined(t, fmt.Sprint(i), "room"))
	}
	for i := range 100 {
		cl.houses[i%3].publish(t, "room", fmt.Sprint(i), hub.Published{Sent: 1})
		for _, c := range clients {
			c.gets(fmt.Sprint(i))
		}
	}
	another := cl.houses[0].joined(t, "another", "room", "lobby")
	if rooms := cl.buses[0].listensTo(); !slices.Equal(rooms, []string{"lobby", "room"}) {
		t.Errorf("listens to %v", rooms)
	}
	if _, err := cl.houses[0].Publish(t.Context(), strings.Repeat("x", 21), nil); err != hub.ErrName {
		t.Error(err)
	}

	cl.setAway(true)
	p, err := cl.houses[0].Publish(t.Context(), "room", []byte("here"))
	if p.Sent != 2 || !errors.Is(err, hub.ErrAway) {
		t.Errorf("published %+v, %v", p, err)
	}
	clients[0].gets("here")
	cl.setAway(false)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cl.houses[0].Publish(ended, "room", []byte("nowhere")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	another.gets("here")
	another.does("exit room", "ok")
	clients[0].does("exit room", "ok")
	clients[1].does("leave", "ok")
	clients[2].end()
	testutil.Eventually(t, "nobody listens to the room", func() bool { return len(cl.buses[2].listensTo()) == 0 })
	if a, b := cl.buses[0].listensTo(), cl.buses[1].listensTo(); !slices.Equal(a, []string{"lobby"}) || len(b) > 0 {
		t.Errorf("listen to %v and %v", a, b)
	}
}

func TestRequestToAnotherProcess(t *testing.T) {
	cl := newCluster(t, 2, hub.RefuseSecond)
	here, there := cl.houses[0], cl.houses[1]
	device := there.joined(t, "device")
	answer := here.request(t.Context(), "device", "1 status")
	device.gets("1 status")
	device.does("1 fine", "ok")
	result := func(result chan string, want string) {
		t.Helper()
		if got := testutil.Await(t, "the result of a request", result); got != want {
			t.Errorf("the result is %q, want %q", got, want)
		}
	}
	result(answer, "1 fine")
	result(here.request(t.Context(), "nobody", "1 x"), "error: "+hub.ErrUnknown.Error())
	result(here.request(t.Context(), "", "1 x"), "error: "+hub.ErrName.Error())
	result(here.request(t.Context(), "device", "none"), "error: "+hub.ErrNoID.Error())
	left := here.request(t.Context(), "device", "2 x")
	device.gets("2 x")
	device.does("leave", "ok")
	result(left, "error: "+hub.ErrNotJoined.Error())
	cl.setAway(true)
	result(here.request(t.Context(), "device", "3 x"), "error: no route: "+hub.ErrAway.Error())
}

func TestWhoIsInOtherProcesses(t *testing.T) {
	cl := newCluster(t, 2, hub.RefuseSecond)
	here, there := cl.houses[0], cl.houses[1]
	here.joined(t, "a", "room")
	there.joined(t, "b", "room")
	if keys := here.present(t, "room"); !slices.Equal(keys, []string{"a", "b"}) {
		t.Errorf("in the room: %v", keys)
	}
	has := func(key string, want bool, wantErr error) {
		t.Helper()
		if ok, err := here.Has(t.Context(), key); ok != want || !errors.Is(err, wantErr) {
			t.Errorf("has %s: %t, %v", key, ok, err)
		}
	}
	has("a", true, nil)
	has("b", true, nil)
	has("c", false, nil)
	has("", false, hub.ErrName)
	if here.Count() != 1 || here.CountIn("room") != 1 {
		t.Error("clients of other processes are counted")
	}
	cl.setAway(true)
	keys, err := here.Presence(t.Context(), "room")
	if !slices.Equal(keys, []string{"a"}) || !errors.Is(err, hub.ErrAway) {
		t.Errorf("in the room: %v, %v", keys, err)
	}
	has("a", true, nil)
	has("b", false, hub.ErrAway)
}

func TestSecondClientInAnotherProcess(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		cl := newCluster(t, 2, hub.RefuseSecond)
		here, there := cl.houses[0], cl.houses[1]
		a := here.joined(t, "k")
		here.dial(t).does("join k", hub.ErrTaken.Error())
		b := there.joined(t, "other")
		b.does("join k", hub.ErrTaken.Error())
		here.send(t, "other", "it has its key still", nil)
		b.gets("it has its key still")
		a.does("leave", "ok")
		b.does("join k", "ok")
		if cl.owner("other") != -1 || cl.owner("k") != 1 {
			t.Error("the claims are not those of the clients")
		}
	})
	t.Run("kicks the first", func(t *testing.T) {
		cl := newCluster(t, 2, hub.KickFirst)
		here, there := cl.houses[0], cl.houses[1]
		a := here.joined(t, "k", "room")
		first := here.clients["k"]
		b := there.joined(t, "k")
		expect(t, "send to the old process", cl.buses[0].local.SendLocal("k", nil), hub.ErrUnknown)
		if rooms := cl.buses[0].listensTo(); len(rooms) > 0 {
			t.Errorf("the old process listens to %v", rooms)
		}
		a.ends()
		a.Close()
		if r := here.records.Next(t); r.Reason != handler.ReasonApplication || !errors.Is(r.Err, hub.ErrReplaced) {
			t.Errorf("record %+v", r)
		}
		here.Leave(first) // the late end of the older connection
		here.send(t, "k", "hello", nil)
		b.gets("hello")
		c := here.joined(t, "k") // and back
		b.ends()
		there.send(t, "k", "hello", nil)
		c.gets("hello")
	})
	t.Run("stays", func(t *testing.T) {
		cl := newCluster(t, 2, hub.AllowBoth)
		all := []*client{cl.houses[0].joined(t, "k"), cl.houses[1].joined(t, "k"), cl.houses[0].joined(t, "k")}
		for i, c := range all {
			cl.houses[1].send(t, "k", "hello", nil)
			for _, other := range all[i:] {
				other.gets("hello")
			}
			c.does("leave", "ok")
		}
		cl.houses[1].send(t, "k", "", hub.ErrUnknown)
	})
}

// While the bus is away, a Join that needs it fails, and one that does not need it does not.
func TestJoinWhileTheBusIsAway(t *testing.T) {
	for _, second := range []hub.Second{hub.RefuseSecond, hub.KickFirst, hub.AllowBoth} {
		cl := newCluster(t, 1, second)
		e := cl.houses[0]
		a := e.joined(t, "a")
		cl.setAway(true)
		if second == hub.AllowBoth {
			e.joined(t, "b")
		} else {
			e.dial(t).does("join b", "no route: "+hub.ErrAway.Error())
		}
		if second == hub.KickFirst {
			e.joined(t, "a")
			a.ends()
		}
		cl.setAway(false)
		e.joined(t, "c")
	}
}

// An error of Start is that of all methods that need the bus, and Close returns that of the bus.
func TestErrorsOfTheBus(t *testing.T) {
	cl := newCluster(t, 1, hub.RefuseSecond)
	e, bus := cl.houses[0], cl.buses[0]
	bus.startErr, bus.closeErr = errors.New("no server"), errors.New("not flushed")
	e.dial(t).does("join k", "no server")
	expect(t, "Start", e.Start(), bus.startErr)
	e.send(t, "k", "", bus.startErr)
	expect(t, "Kick", e.Kick(t.Context(), "k", nil), bus.startErr)
	_, err := e.Publish(t.Context(), "room", nil)
	expect(t, "Publish", err, bus.startErr)
	_, err = e.Request(t.Context(), "k", []byte("1 x"))
	expect(t, "Request", err, bus.startErr)
	_, err = e.Presence(t.Context(), "room")
	expect(t, "Presence", err, bus.startErr)
	_, err = e.Has(t.Context(), "k")
	expect(t, "Has", err, bus.startErr)
	expect(t, "Close", e.Close(), bus.closeErr)
	expect(t, "the second Close", e.Close(), nil)
	if n := bus.count("Start"); n != 1 {
		t.Errorf("Start was called %d times", n)
	}
	if n := bus.count("Close"); n != 1 {
		t.Errorf("Close was called %d times", n)
	}
}

// A hub that is closed before it was used closes its bus, and does not start it.
func TestCloseWithoutStart(t *testing.T) {
	cl := newCluster(t, 1, hub.RefuseSecond)
	expect(t, "Close", cl.houses[0].Close(), nil)
	cl.houses[0].send(t, "k", "", hub.ErrClosed)
	if bus := cl.buses[0]; bus.count("Start") != 0 || bus.count("Close") != 1 {
		t.Errorf("%d calls of Start, %d of Close", bus.count("Start"), bus.count("Close"))
	}
}

// Close gives up what the hub has at the bus.
func TestCloseWithBus(t *testing.T) {
	cl := newCluster(t, 2, hub.RefuseSecond)
	here, there := cl.houses[0], cl.houses[1]
	here.joined(t, "k", "room")
	here.Close()
	if n := here.Kept(); n != 0 {
		t.Errorf("%d keys and rooms are kept", n)
	}
	if rooms := cl.buses[0].listensTo(); len(rooms) > 0 {
		t.Errorf("listens to %v", rooms)
	}
	there.joined(t, "k")
	here.send(t, "k", "", hub.ErrClosed)
}

// Clients come and go in three processes, take keys from each other, and send: in the end each key
// has one owner, and everything is given up.
func TestComeAndGoWithBus(t *testing.T) {
	for _, second := range []hub.Second{hub.RefuseSecond, hub.KickFirst, hub.AllowBoth} {
		cl := newCluster(t, 3, second).start(t)
		const keys, rooms = 4, 3
		ctx, cancel := context.WithCancel(t.Context())
		var senders, clients sync.WaitGroup
		for _, e := range cl.houses {
			senders.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					e.Publish(ctx, fmt.Sprint("room ", i%rooms), []byte("hello"))
					e.Send(ctx, fmt.Sprint(i%keys), []byte("you"))
					e.Presence(ctx, fmt.Sprint("room ", i%rooms))
				}
			})
			for range 4 {
				clients.Go(func() {
					for range testutil.Rounds(40) {
						conn := e.server.Dial()
						for range 3 {
							fmt.Fprintf(conn, "join %d\nenter room %d\n", rand.IntN(keys), rand.IntN(rooms))
						}
						conn.SetReadDeadline(time.Now().Add(testutil.Patience))
						conn.Read(make([]byte, 100))
						conn.Close()
					}
				})
			}
		}
		clients.Wait()
		cancel()
		senders.Wait()
		for i, e := range cl.houses {
			testutil.Eventually(t, "all have left", func() bool { return e.Count() == 0 })
			testutil.Eventually(t, "nobody listens", func() bool { return len(cl.buses[i].listensTo()) == 0 })
		}
		for key := range keys {
			testutil.Eventually(t, "the key is free", func() bool { return cl.owner(fmt.Sprint(key)) == -1 })
			for i, e := range cl.houses { // and can be had
				c := e.joined(t, fmt.Sprint(key))
				if got := cl.owner(fmt.Sprint(key)); got != i {
					t.Errorf("the owner is %d, not %d", got, i)
				}
				cl.houses[0].send(t, fmt.Sprint(key), "hello", nil)
				tcptest.Receive(t, c, "hello\n")
				c.does("leave", "ok")
			}
		}
	}
}
