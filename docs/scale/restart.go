package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// random chooses any server.
func random(all []server, source *rand.Rand) *server {
	for {
		if s := &all[source.IntN(len(all))]; !s.down {
			return s
		}
	}
}

// fewest chooses a server that has the fewest clients.
func fewest(all []server, _ *rand.Rand) *server {
	var least *server
	for i := range all {
		if s := &all[i]; !s.down && (least == nil || s.clients < least.clients) {
			least = s
		}
	}
	return least
}

// bestOfTwo chooses the one of two random servers that has fewer clients.
func bestOfTwo(all []server, source *rand.Rand) *server {
	a, b := random(all, source), random(all, source)
	if b.clients < a.clients {
		return b
	}
	return a
}

// rollout is a restart of all machines, some at a time.
type rollout struct {
	at      int // a time
	balance balance
}

// rolled is how a rollout went.
type rolled struct {
	moves   float64       // connections that a client has lost
	slowest time.Duration // until 99 % of the clients of a step were back, in the worst step
	busiest int           // connects to one machine in one second
	most    float64       // clients of the machine that has had most, by the average
}

// run restarts all machines. Each step is over before the next one.
func (r rollout) run() (out rolled) {
	source := newSource()
	fleet := make([]server, machines)
	for i := range fleet {
		fleet[i].clients = perMachine / sample
	}
	moved := 0
	for first := 0; first < machines; first += r.at {
		group := fleet[first:min(first+r.at, machines)]
		lost := 0
		for i := range group {
			lost += group[i].clients
			group[i] = server{down: true}
		}
		o := storm{clients: lost, wait: fullJitter, cost: tlsCost * sample, balance: r.balance}.run(fleet, source)
		for i := range group {
			group[i].down = false
		}
		moved += lost
		out.slowest = max(out.slowest, o.after(0.99))
		out.busiest = max(out.busiest, o.busiest*sample)
		out.most = max(out.most, byAverage(slices.MaxFunc(fleet, byClients)))
	}
	out.moves = float64(moved) * sample / clients
	return out
}

func byClients(a, b server) int   { return a.clients - b.clients }
func byAverage(s server) float64  { return float64(s.clients) * sample / perMachine }
func percent(part float64) string { return fmt.Sprintf("%.0f %%", 100*part) }

// stepTime is from one step of a rollout to the next: grace, a drain that takes as long as it may,
// the start, and what a health check needs to find it.
const stepTime = 5*time.Second + 8*time.Second + 7*time.Second

func restartTable() (r rows) {
	r.add("machines at a time", "the balancer takes", "in all", "connections that a client loses", "99 % of a step are back after", "connects to a machine in a second, at most", "most clients on a machine, by the average")
	for _, how := range []struct {
		name    string
		balance balance
	}{{"any", random}, {"the best of two", bestOfTwo}, {"that with fewest clients", fewest}} {
		for _, at := range []int{1, 5, 20} {
			o := rollout{at, how.balance}.run()
			steps := (machines + at - 1) / at
			r.add(at, how.name, time.Duration(steps)*stepTime, fmt.Sprintf("%.2f", o.moves), seconds(o.slowest), count(o.busiest), percent(o.most))
		}
	}
	return r
}
