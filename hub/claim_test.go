package hub_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"wireline/handler"
	"wireline/hub"
)

// inBubble runs a test in a bubble: when synctest.Wait returns, everybody waits for the test.
func inBubble(t *testing.T, n int, second hub.Second, f func(t *testing.T, cl *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newCluster(t, n, second)) })
}

// called checks how often the hub has called a method of its bus.
func (b *memBus) called(method string, want int) {
	b.t.Helper()
	if n := b.count(method); n != want {
		b.t.Errorf("%d calls of %s, want %d", n, method, want)
	}
}

// forEachSecond runs a test for each policy.
func forEachSecond(t *testing.T, f func(t *testing.T, second hub.Second)) {
	for name, second := range map[string]hub.Second{"refuse": hub.RefuseSecond, "kick": hub.KickFirst, "allow": hub.AllowBoth} {
		t.Run(name, func(t *testing.T) { f(t, second) })
	}
}

// Two clients join with a new key at the same time: the hub claims it once, and then decides.
func TestTwoJoinsAtTheSameTime(t *testing.T) {
	forEachSecond(t, func(t *testing.T, second hub.Second) {
		inBubble(t, 1, second, func(t *testing.T, cl *cluster) {
			e, bus := cl.houses[0], cl.buses[0]
			claim := bus.gate("Claim")
			a, b := e.dial(t), e.dial(t)
			a.says("join k")
			<-claim.reached
			b.says("join k")
			synctest.Wait()
			if e.Count() != 0 {
				t.Error("a client has the key before the claim")
			}
			claim.open()
			a.gets("ok")
			switch second {
			case hub.RefuseSecond:
				b.gets(hub.ErrTaken.Error())
			case hub.KickFirst:
				b.gets("ok")
				a.ends()
			case hub.AllowBoth:
				b.gets("ok")
				a.does("leave", "ok")
			}
			bus.called("Claim", 1)
			bus.called("Release", 0)
			if cl.owner("k") != 0 {
				t.Error("the key has no owner")
			}
		})
	})
}

// The older client of a key ends late, while the newer one joins: the newer one keeps the key.
func TestLateEndAgainstJoin(t *testing.T) {
	forEachSecond(t, func(t *testing.T, second hub.Second) {
		inBubble(t, 2, second, func(t *testing.T, cl *cluster) {
			e, bus := cl.houses[0], cl.buses[0]
			release := bus.gate("Release")
			a := e.joined(t, "k")
			a.Close()
			<-release.reached
			b := e.dial(t)
			b.says("join k")
			synctest.Wait()
			bus.called("Claim", 1) // the second waits for Release
			release.open()
			b.gets("ok")
			bus.called("Claim", 2)
			synctest.Wait()
			if cl.owner("k") != 0 {
				t.Error("the key of the newer client has no owner")
			}
			cl.houses[1].send(t, "k", "hello", nil)
			b.gets("hello")
		})
	})
}

// Another process takes the key before Claim has returned.
func TestLostDuringJoin(t *testing.T) {
	inBubble(t, 2, hub.KickFirst, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		claimed := bus.gate("claimed")
		a, waits := e.dial(t), e.dial(t)
		a.says("join k")
		<-claimed.reached
		b := cl.houses[1].joined(t, "k")
		claimed.open()
		a.gets(hub.ErrReplaced.Error())
		a.ends()
		a.Close()
		if r := e.records.Next(t); r.Reason != handler.ReasonApplication || !errors.Is(r.Err, hub.ErrReplaced) {
			t.Errorf("record %+v", r)
		}
		e.send(t, "k", "hello", nil)
		b.gets("hello")
		waits.does("join k", "ok") // and takes it back
		b.ends()
		bus.called("Release", 0)
	})
}

// The same, while another Join of the key waits: that one claims the key again.
func TestLostDuringTwoJoins(t *testing.T) {
	inBubble(t, 2, hub.KickFirst, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		claimed := bus.gate("claimed")
		a, c := e.dial(t), e.dial(t)
		a.says("join k")
		<-claimed.reached
		c.says("join k")
		synctest.Wait()
		b := cl.houses[1].joined(t, "k")
		claimed.open()
		a.gets(hub.ErrReplaced.Error())
		c.gets("ok")
		b.ends()
		bus.called("Claim", 2)
	})
}

// The key is lost while clients have it: all of them leave, with their rooms, and are closed.
func TestLost(t *testing.T) {
	forEachSecond(t, func(t *testing.T, second hub.Second) {
		inBubble(t, 1, second, func(t *testing.T, cl *cluster) {
			e, bus := cl.houses[0], cl.buses[0]
			all := []*client{e.joined(t, "k", "room")}
			if second == hub.AllowBoth {
				all = append(all, e.joined(t, "k", "room"))
			}
			other := e.joined(t, "other", "room")
			cl.owners["k"][0].lose()
			if n := e.Count(); n != 1 {
				t.Errorf("%d clients are left, want the one with another key", n)
			}
			e.send(t, "k", "", hub.ErrUnknown)
			if n := e.CountIn("room"); n != 1 {
				t.Errorf("%d clients are in the room", n)
			}
			for _, c := range all {
				c.ends()
				c.Close()
				if r := e.records.Next(t); r.Reason != handler.ReasonApplication || !errors.Is(r.Err, hub.ErrReplaced) {
					t.Errorf("record %+v", r)
				}
			}
			other.does("leave", "ok")
			bus.called("Release", 1) // of the other key
			delete(cl.owners, "k")
			e.joined(t, "k")
			bus.called("Claim", 3)
		})
	})
}

// The key is lost while the last client of it leaves, or has just left.
func TestLostDuringRelease(t *testing.T) {
	inBubble(t, 2, hub.KickFirst, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		a := e.joined(t, "k")
		release := bus.gate("Release")
		a.says("leave")
		<-release.reached
		c := e.dial(t)
		c.says("join k")
		synctest.Wait()
		b := cl.houses[1].joined(t, "k") // takes it
		bus.called("lost", 1)
		synctest.Wait()
		if e.Count() != 0 {
			t.Error("a client has joined by a claim that is given up")
		}
		release.open()
		a.gets("ok")
		c.gets("ok") // takes it back
		b.ends()
		a.does("join a", "ok") // it was not closed
		if cl.owner("k") != 0 {
			t.Error("the release of the older claim has given up the newer one")
		}
	})
}

// A call of lost is so late that another client has claimed the key anew: that one keeps it.
func TestLostTooLate(t *testing.T) {
	inBubble(t, 2, hub.KickFirst, func(t *testing.T, cl *cluster) {
		e := cl.houses[0]
		a := e.joined(t, "k")
		lost := cl.owners["k"][0].lost
		a.does("leave", "ok")
		lost()
		b := e.joined(t, "k")
		lost()
		cl.houses[1].send(t, "k", "hello", nil)
		b.gets("hello")
	})
}

// The client ends while its Join waits for the bus.
func TestEndDuringClaim(t *testing.T) {
	for _, gate := range []string{"Claim", "claimed"} { // the bus fails then, or not
		t.Run(gate, func(t *testing.T) {
			inBubble(t, 1, hub.RefuseSecond, func(t *testing.T, cl *cluster) {
				e, bus := cl.houses[0], cl.buses[0]
				claim := bus.gate(gate)
				joined, opened := make(chan error, 2), make(chan *handler.Client, 2)
				e.onJoin = func(c *handler.Client, err error) { joined <- err }
				e.onOpen = func(c *handler.Client) { opened <- c }
				e.dial(t).says("join k")
				<-claim.reached
				b := e.dial(t)
				b.says("join k")
				synctest.Wait()
				(<-opened).Close()
				synctest.Wait()
				claim.open()
				b.gets("ok")
				ended, waited := <-joined, <-joined
				if ended == nil { // they may come in either order
					ended, waited = waited, ended
				}
				expect(t, "Join of a client that has ended", ended, handler.ErrClosed)
				expect(t, "Join of a client that waited for it", waited, nil)
				if cl.owner("k") != 0 || e.Count() != 1 {
					t.Errorf("the owner of the key is %d, and %d clients have joined", cl.owner("k"), e.Count())
				}
				bus.called("Claim", 2)
				bus.called("Release", map[string]int{"Claim": 0, "claimed": 1}[gate])
			})
		})
	}
}

// A client whose Join waits for another Join ends: it does not wait for the bus.
func TestEndWhileAnotherClaims(t *testing.T) {
	inBubble(t, 1, hub.AllowBoth, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		claim := bus.gate("Claim")
		joined, opened := make(chan error, 2), make(chan *handler.Client, 2)
		e.onJoin = func(c *handler.Client, err error) { joined <- err }
		e.onOpen = func(c *handler.Client) { opened <- c }
		a := e.dial(t)
		a.says("join k")
		<-claim.reached
		<-opened
		b := e.dial(t)
		b.says("join k")
		synctest.Wait()
		(<-opened).Close()
		synctest.Wait()
		expect(t, "Join of the client that has ended", <-joined, handler.ErrClosed)
		claim.open()
		a.gets("ok")
		expect(t, "Join", <-joined, nil)
	})
}

// The bus refuses: Joins that wait for the same key have the same answer, and later ones ask again.
func TestClaimFails(t *testing.T) {
	inBubble(t, 1, hub.KickFirst, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		cl.setAway(true)
		claim := bus.gate("Claim")
		var all []*client
		for range 5 {
			all = append(all, e.dial(t))
			all[len(all)-1].says("join k")
		}
		<-claim.reached
		synctest.Wait()
		claim.open()
		for _, c := range all {
			c.gets("no route: " + hub.ErrAway.Error())
		}
		bus.called("Claim", 1)
		cl.setAway(false)
		all[0].does("join k", "ok")
	})
}

// The hub is closed while Joins wait for the bus.
func TestCloseDuringClaim(t *testing.T) {
	for _, gate := range []string{"Claim", "claimed"} { // the bus fails then, or not
		t.Run(gate, func(t *testing.T) {
			inBubble(t, 2, hub.RefuseSecond, func(t *testing.T, cl *cluster) {
				e, bus := cl.houses[0], cl.buses[0]
				claim := bus.gate(gate)
				a, b := e.dial(t), e.dial(t)
				a.says("join k")
				<-claim.reached
				b.says("join k")
				synctest.Wait()
				closed := make(chan struct{})
				go func() {
					e.Close()
					close(closed)
				}()
				synctest.Wait()
				select {
				case <-closed:
					t.Error("Close has not waited for Join")
				default:
				}
				claim.open()
				<-closed
				for _, c := range []*client{a, b} {
					c.gets(hub.ErrClosed.Error())
				}
				bus.called("Claim", 1)
				cl.houses[1].joined(t, "k")
			})
		})
	}
}

// A client gets another key: the old one is given up when the new one is there, and not before.
func TestAnotherKey(t *testing.T) {
	inBubble(t, 2, hub.RefuseSecond, func(t *testing.T, cl *cluster) {
		e := cl.houses[0]
		a := e.joined(t, "old", "room")
		claim := cl.buses[0].gate("Claim")
		a.says("join new")
		<-claim.reached
		cl.houses[1].send(t, "old", "still old", nil)
		claim.open()
		a.gets("still old\nok")
		if cl.owner("old") != -1 || cl.owner("new") != 0 || e.CountIn("room") != 1 {
			t.Errorf("owners %v, %d in the room", cl.owners, e.CountIn("room"))
		}
		cl.houses[1].send(t, "new", "new", nil)
		a.gets("new")
	})
}

// A device that has lost its connection comes back to the same process: the hub decides alone, also
// if it has not noticed the end of the old connection.
func TestJoinAgainWithBus(t *testing.T) {
	inBubble(t, 1, hub.KickFirst, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		a := e.joined(t, "k")
		b := e.joined(t, "k")
		a.ends()
		b.does("join k", "ok")
		bus.called("Claim", 1)
		bus.called("Release", 0)
		if cl.owner("k") != 0 {
			t.Error("the key has no owner")
		}
	})
}

// Clients enter and exit while the bus is slow to listen: they do not wait for it, and what holds in
// the end is what they did last.
func TestEnterWhileTheBusListens(t *testing.T) {
	inBubble(t, 1, hub.RefuseSecond, func(t *testing.T, cl *cluster) {
		e, bus := cl.houses[0], cl.buses[0]
		a, b := e.joined(t, "a"), e.joined(t, "b")
		listen := bus.gate("Listen")
		a.says("enter room")
		<-listen.reached
		b.does("enter room", "ok")
		b.does("exit room", "ok")
		e.Exit(e.clients["a"], "room")
		b.does("enter room", "ok") // the room is new again
		b.does("exit room", "ok")
		listen.open()
		a.gets("ok")
		if rooms := bus.listensTo(); len(rooms) > 0 {
			t.Errorf("listens to %v, and nobody is there", rooms)
		}
		a.does("enter room", "ok")
		stop := bus.gate("stop")
		a.says("exit room")
		<-stop.reached
		b.does("enter room", "ok")
		stop.open()
		a.gets("ok")
		if rooms := strings.Join(bus.listensTo(), " "); rooms != "room" {
			t.Errorf("listens to %q", rooms)
		}
		bus.called("Listen", 3)
		bus.called("stop", 2)
	})
}
