package tcp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
)

// A change adds, removes and reconfigures servers. Commit comes between what can fail and what is
// seen.
func TestGroupChange(t *testing.T) {
	var j journal
	gate := newGate(t)
	one, two, three := service("one", &j, echo()), service("two", &j, echoAfter(gate.work)), service("three", &j, echo())
	g := &tcp.Group{Servers: []*tcp.Server{one, two}}
	stop, result := runGroup(t, g)
	live, busy := dialServer(t, one), dialServer(t, two)
	exchange(t, live, "hello\n")
	send(t, busy, "hold\n")
	<-gate.holding

	again := service("two", &j, echo())
	cfg := one.Settings()
	cfg.Address, cfg.MaxClients = "127.0.0.1:"+freePort(t), 1
	committed := 0
	err := g.Change(t.Context(), tcp.Changes{
		Add: []*tcp.Server{three, again}, Remove: []*tcp.Server{two}, Set: map[*tcp.Server]tcp.Config{one: cfg},
		Commit: func() {
			committed++
			if len(three.Addrs()) != 0 || one.Settings().MaxClients != 0 || j.services("draining") != "" {
				t.Error("something has changed before Commit")
			}
			conn := dial(t, "tcp", cfg.Address) // it is bound
			conn.Close()
		},
	})
	if err != nil || committed != 1 {
		t.Fatalf("%v, committed %d times", err, committed)
	}
	if got := slices.Collect(g.All()); !slices.Equal(got, []*tcp.Server{one, three, again}) {
		t.Errorf("%v", got)
	}
	exchange(t, live, "still here\n")
	exchange(t, dialServer(t, three), "hello\n")
	exchange(t, dialServer(t, again), "hello\n")
	if got := one.Addrs(); len(got) != 1 || got[0].String() != cfg.Address || one.Settings().MaxClients != 1 {
		t.Errorf("%v, %+v", got, one.Settings())
	}
	eventually(t, "the drain", func() bool { return j.services("draining") == "two" })
	if err := g.Change(t.Context(), tcp.Changes{Add: []*tcp.Server{two}}); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("a server that drains was added again: %v", err)
	}
	gate.open()
	receiveAll(t, busy, "hold\n")
	eventually(t, "the end of the drain", func() bool { return j.services("drained") == "two" })
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := g.Change(t.Context(), tcp.Changes{}); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("after the stop: %v", err)
	}
	if got := j.services("listening"); strings.Count(got, "two") != 2 || strings.Count(got, "one") != 2 || strings.Count(got, "three") != 1 {
		t.Errorf("listening: %s", got)
	}
}

// If anything is wrong, nothing changes.
func TestGroupChangeAllOrNothing(t *testing.T) {
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0").Addr().String()
	var j journal
	one, two := service("one", &j, echo()), service("two", &j, echo())
	g := &tcp.Group{Servers: []*tcp.Server{one, two}}
	stop, result := runGroup(t, g)
	live, other := dialServer(t, one), dialServer(t, two)
	exchange(t, live, "hello\n")
	exchange(t, other, "hello\n")
	port := freePort(t)
	files := testutil.OpenFiles(t)
	add := func(name, address string) *tcp.Server {
		s := service(name, &j, echo())
		s.Address = address
		return s
	}
	good := one.Settings()
	good.MaxClients, good.Address = 5, "127.0.0.1:"+port
	with := func(change func(*tcp.Config)) tcp.Config {
		cfg := two.Settings()
		change(&cfg)
		return cfg
	}
	stopped := service("stopped", &j, echo())
	shutdown(t, stopped)
	type set = map[*tcp.Server]tcp.Config
	for name, test := range map[string]struct {
		changes tcp.Changes
		want    string
		field   string
	}{
		"the name of one that stays": {tcp.Changes{Add: []*tcp.Server{add("two", "127.0.0.1:0")}}, "two servers have the name two", ""},
		"a name twice":               {tcp.Changes{Add: []*tcp.Server{add("x", "127.0.0.1:0"), add("x", "127.0.0.1:0")}}, "two servers have the name x", ""},
		"a new one, not valid":       {tcp.Changes{Add: []*tcp.Server{add("x", "127.0.0.1:0"), add("y", "nowhere")}}, "service y: tcp: Address", "Address"},
		"a new one, taken":           {tcp.Changes{Add: []*tcp.Server{add("x", "127.0.0.1:0"), add("y", taken)}}, "service y: tcp.address", "Address"},
		"a stopped one":              {tcp.Changes{Add: []*tcp.Server{stopped}}, "service stopped: tcp: server closed", ""},
		"set, not valid":             {tcp.Changes{Set: set{two: with(func(cfg *tcp.Config) { cfg.MaxClients = -1 })}}, "service two: tcp: MaxClients", "MaxClients"},
		"set, taken":                 {tcp.Changes{Set: set{two: with(func(cfg *tcp.Config) { cfg.Address = taken })}}, "service two: tcp.address", "Address"},
		"set, not there":             {tcp.Changes{Set: set{add("x", "127.0.0.1:0"): {}}}, "service x: tcp: the group does not serve", ""},
		"removed, not there":         {tcp.Changes{Remove: []*tcp.Server{add("x", "127.0.0.1:0")}}, "service x: tcp: the group does not serve", ""},
		"removed and set":            {tcp.Changes{Remove: []*tcp.Server{two}, Set: set{two: two.Settings()}}, "service two: tcp: the server cannot be removed and", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.changes
			c.Commit = func() { t.Error("Commit is called") }
			c.Add = append([]*tcp.Server{add("good", "127.0.0.1:0")}, c.Add...)
			if c.Set == nil {
				c.Set = set{}
			}
			c.Set[one] = good
			var bad *field.Error
			err := g.Change(t.Context(), c)
			if !strings.Contains(errorText(err), test.want) || errors.As(err, &bad) && bad.Field != test.field {
				t.Errorf("error %v", err)
			}
			if one.Settings().MaxClients != 0 || one.Addrs()[0].String() == good.Address {
				t.Error("something has changed")
			}
			if conn, err := net.Dial("tcp", good.Address); err == nil {
				conn.Close()
				t.Error("the new address is open")
			}
			exchange(t, live, "still here\n")
			exchange(t, other, "still here\n")
			if n := testutil.OpenFiles(t); n > files {
				t.Errorf("%d descriptors, %d before", n, files)
			}
		})
	}
	if err := g.Change(t.Context(), tcp.Changes{Set: set{one: good}}); err != nil {
		t.Errorf("a good change after bad ones: %v", err)
	}
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Before Run, changes are those of Servers.
func TestGroupChangeBeforeRun(t *testing.T) {
	var j journal
	one, two, three := service("one", &j, echo()), service("two", &j, echo()), service("three", &j, echo())
	g := &tcp.Group{Servers: []*tcp.Server{one, two}}
	cfg := one.Config
	cfg.MaxClients = 7
	c := tcp.Changes{Add: []*tcp.Server{three}, Remove: []*tcp.Server{two}, Set: map[*tcp.Server]tcp.Config{one: cfg}}
	if err := g.Change(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	stop, result := runGroup(t, g)
	exchange(t, dialServer(t, one), "hello\n")
	exchange(t, dialServer(t, three), "hello\n")
	if one.Settings().MaxClients != 7 || len(two.Addrs()) > 0 {
		t.Error("the change was not made")
	}
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A hundred changes under load: no client that is there ends, none that comes is refused, and
// nothing is left behind.
func TestGroupChangesUnderLoad(t *testing.T) {
	changes := testutil.Rounds(100)
	var j journal
	stays, moves := service("stays", &j, echo()), service("moves", &j, echo())
	g := &tcp.Group{Servers: []*tcp.Server{stays, moves}}
	stop, result := runGroup(t, g)
	live := []net.Conn{dialServer(t, stays), dialServer(t, moves)}
	first := moves.Addrs()[0].String()
	exchangeAll := func() {
		t.Helper()
		for _, conn := range live {
			exchange(t, conn, "still here\n")
		}
	}
	exchangeAll()
	ports := freePorts(t, 10)
	files := testutil.OpenFiles(t)

	where := moving{addr: first} // for clients that come and go
	visits, halt := visitAll(t, 4, where.dial, ping)
	var extra *tcp.Server
	for i := range changes {
		before := visits.Load()
		eventually(t, "visits", func() bool { return visits.Load() > before+5 || t.Failed() })
		cfg := moves.Settings()
		cfg.MaxClients, cfg.MaxClientsPerIP, cfg.MaxBuffered = i%3*1000, i%5*1000, i%4<<20
		c := tcp.Changes{Set: map[*tcp.Server]tcp.Config{moves: cfg}}
		switch i % 4 {
		case 0:
			cfg.Address = "127.0.0.1:" + ports[i/4%len(ports)]
			c.Set[moves] = cfg
		case 1:
			extra = service("extra", &j, echo())
			c.Add = []*tcp.Server{extra}
		case 2:
			conn := dialServer(t, extra)
			exchange(t, conn, "hello\n")
			c.Remove = []*tcp.Server{extra}
			defer receiveAll(t, conn, "")
		}
		var err error
		where.move(func() string {
			err = g.Change(t.Context(), c)
			return moves.Addrs()[0].String()
		})
		if err != nil {
			t.Fatal(err)
		}
		exchangeAll()
	}
	halt()
	if extra != nil && changes%4 == 2 {
		g.Remove(t.Context(), extra)
	}
	eventually(t, "the descriptors", func() bool { return testutil.OpenFiles(t) <= files+changes/4+1 })
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := moves.Stats(); n.Active != 0 || n.RefusedFull+n.RefusedPerIP > 0 {
		t.Errorf("%+v", n)
	}
}

// Change, Add, Remove, Reconfigure and the stop, from many goroutines.
func TestGroupChangesAtTheSameTime(t *testing.T) {
	for range testutil.Rounds(10) {
		var j journal
		stays := service("stays", &j, echo())
		g := &tcp.Group{Servers: []*tcp.Server{stays}}
		stop, result := runGroup(t, g)
		live := dialServer(t, stays)
		exchange(t, live, "hello\n")
		var all sync.WaitGroup
		for lane := range 4 {
			all.Go(func() {
				for i := range 10 {
					s := service(fmt.Sprintf("s%d", lane), &j, echo())
					var err error
					switch rand.IntN(3) {
					case 0:
						err = g.Change(t.Context(), tcp.Changes{Add: []*tcp.Server{s}})
						if err == nil {
							err = g.Change(t.Context(), tcp.Changes{Remove: []*tcp.Server{s}})
						}
					case 1:
						if err = g.Add(s); err == nil {
							err = g.Remove(t.Context(), s)
						}
					case 2:
						cfg := stays.Settings()
						cfg.MaxClients = 100 + i
						if i%2 == 0 {
							err = g.Change(t.Context(), tcp.Changes{Set: map[*tcp.Server]tcp.Config{stays: cfg}})
						} else {
							err = stays.Reconfigure(t.Context(), cfg)
						}
					}
					if err != nil && !errors.Is(err, tcp.ErrServerClosed) && !strings.Contains(err.Error(), "does not serve") {
						t.Error(err)
					}
					for range g.All() {
					}
					if lane == 0 && i == 7 {
						stop()
					}
				}
			})
		}
		all.Wait()
		if err := result(); err != nil {
			t.Errorf("Run: %v", err)
		}
		receiveAll(t, live, "")
	}
}

// While changes go on, all servers that All returns are ready, and there is always one: it is what
// a balancer asks for.
func TestGroupIsReadyDuringChanges(t *testing.T) {
	var j journal
	s := service("s0", &j, echo())
	g := &tcp.Group{Servers: []*tcp.Server{s}}
	stop, result := runGroup(t, g)
	eventually(t, "the server", s.Ready)
	demandReady := func(when string) {
		n := 0
		for s := range g.All() {
			n++
			if !s.Ready() && slices.Contains(slices.Collect(g.All()), s) { // it was not removed meanwhile
				t.Errorf("%s: %s is not ready", when, s.Name)
			}
		}
		if n == 0 {
			t.Errorf("%s: there is no server", when)
		}
	}
	done := make(chan struct{})
	var poll sync.WaitGroup
	poll.Go(func() {
		for !t.Failed() {
			select {
			case <-done:
				return
			default:
				demandReady("meanwhile")
			}
		}
	})
	for i := range testutil.Rounds(100) {
		next := service(fmt.Sprintf("s%d", i+1), &j, echo())
		if i%2 == 0 && runtime.GOOS != "windows" {
			next.Address = s.Addrs()[0].String() // it is handed over
		}
		err := g.Change(t.Context(), tcp.Changes{
			Add: []*tcp.Server{next}, Remove: []*tcp.Server{s},
			Commit: func() { demandReady("in Commit") },
		})
		if err != nil {
			t.Fatal(err)
		}
		demandReady("after it")
		s = next
	}
	close(done)
	poll.Wait()
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
}
