package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"wireline/client"
)

// wait is how long a client waits before an attempt. Attempts are counted from zero.
type wait func(attempt int, source rand.Source) time.Duration

// fullJitter is that of package client, late the same with a longer first wait, noJitter the same
// without its random numbers.
var (
	fullJitter wait = client.Backoff{}.Delay
	noJitter   wait = func(attempt int, _ rand.Source) time.Duration { return client.Backoff{}.Limit(attempt) }
	late       wait = client.Backoff{First: 20 * time.Second}.Delay
	steady     wait = func(int, rand.Source) time.Duration { return time.Second }
)

// sample is by how much a simulated fleet is smaller than the real one: it has as many machines,
// with fewer clients and handshakes that take longer.
const sample = 20

// server computes the handshakes of its clients one after the other, in the order in which they
// come. Those that would take longer than connectTimeout are given up, and take no time.
type server struct {
	clients  int // also those that wait for their handshake
	down     bool
	free     time.Duration // when it has computed all handshakes that have come
	connects []int         // in each second
}

// come has a client connect at a time. ok is false if it has to wait for too long.
func (s *server) come(at, cost time.Duration) (connected time.Duration, ok bool) {
	second := int(at / time.Second)
	s.connects = append(s.connects, make([]int, max(0, second+1-len(s.connects)))...)
	s.connects[second]++
	s.clients++
	connected = max(at, s.free) + cost
	if connected-at > connectTimeout {
		return 0, false
	}
	s.free = connected
	return connected, true
}

// balance chooses the server for a connection, among those that are not down.
type balance func(all []server, source *rand.Rand) *server

// storm is a number of clients that have lost their connections at the same time, and come back.
type storm struct {
	clients int
	outage  time.Duration // for which all connects are refused
	wait    wait
	cost    time.Duration // of a connection, for its server
	balance balance
}

// outcome is how a storm went. Its times count from the end of the outage.
type outcome struct {
	connected []time.Duration // when each client was, in order
	timeouts  int             // attempts for which a server was too slow
	busiest   int             // connects to one server in one second
}

// after is when a share of the clients was back.
func (o outcome) after(share float64) time.Duration {
	return o.connected[int(share*float64(len(o.connected)-1))]
}

// run lets the clients come to the servers, until all are back.
func (s storm) run(servers []server, source *rand.Rand) (o outcome) {
	for i := range servers {
		servers[i].free, servers[i].connects = 0, nil
	}
	var next events
	for range s.clients {
		next = append(next, event{at: s.wait(0, source)})
	}
	heap.Init(&next)
	for len(next) > 0 {
		e := &next[0]
		switch {
		case e.waits != nil: // in vain
			e.waits.clients--
			e.waits = nil
			s.again(e, source)
		case e.at < s.outage:
			s.again(e, source)
		default:
			to := s.balance(servers, source)
			connected, ok := to.come(e.at, s.cost)
			if ok {
				o.connected = append(o.connected, connected-s.outage)
				heap.Pop(&next)
				continue
			}
			o.timeouts++
			e.at, e.waits = e.at+connectTimeout, to
		}
		heap.Fix(&next, 0)
	}
	slices.Sort(o.connected)
	for _, each := range servers {
		if len(each.connects) > 0 {
			o.busiest = max(o.busiest, slices.Max(each.connects))
		}
	}
	return o
}

// again makes the failure of an attempt the next attempt.
func (s storm) again(e *event, source rand.Source) {
	e.number++
	e.at += s.wait(e.number, source)
}

// event is the next attempt of a client, or the timeout of one.
type event struct {
	at     time.Duration
	number int     // of the attempt
	waits  *server // for a handshake that times out; nil otherwise
}

// events is a heap, the earliest first.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// newSource returns the random numbers of a simulation.
func newSource() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// The time for which a connection keeps a machine: some cores share the handshakes.
const (
	tlsCost   = handshakeCPU / handshakeCores
	plainCost = connectCPU / handshakeCores
)

// stormTable is the end of an outage of all machines. All are alike: one stands for them.
func stormTable() (r rows) {
	r.add("outage", "clients wait", "half are back after", "99 %", "all", "connects to a machine in a second, at most", "attempts that timed out")
	for _, outage := range []time.Duration{0, 5 * time.Second, time.Minute} {
		for _, how := range []struct {
			name string
			wait wait
		}{
			{"`client.Backoff`", fullJitter},
			{"the same, `First` 20 s", late},
			{"the same without jitter", noJitter},
			{"1 s", steady},
		} {
			s := storm{clients: perMachine, outage: outage, wait: how.wait, cost: tlsCost, balance: random}
			o := s.run(make([]server, 1), newSource())
			r.add(fmt.Sprintf("%.0f s", outage.Seconds()), how.name, seconds(o.after(0.5)), seconds(o.after(0.99)), seconds(o.after(1)), count(o.busiest), count(o.timeouts))
		}
	}
	return r
}

// failureTable is the end of some machines, whose clients go to the others.
func failureTable() (r rows) {
	r.add("machines that fail", "clients", "99 % are back after", "all", "connects to a machine in a second, at most", "of a core, for that, without TLS")
	for _, failing := range []int{1, 10, 50} {
		left := machines - failing
		s := storm{clients: failing * perMachine / sample, wait: fullJitter, cost: tlsCost * sample, balance: random}
		o := s.run(make([]server, left), newSource())
		busiest := o.busiest * sample
		r.add(failing, count(failing*perMachine), seconds(o.after(0.99)), seconds(o.after(1)), count(busiest), percent(float64(busiest)*connectCPU.Seconds()))
	}
	return r
}
