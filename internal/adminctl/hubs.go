package adminctl

import (
	"strconv"
	"time"

	"wireline/admin"
)

// hubTable shows hubs, with their rates since the screen before.
func (s *screen) hubTable() *table {
	t := newTable("HUB", ">CLIENTS", ">ROOMS", ">JOINED", ">SENDS/S", ">PUBLISHED/S", ">DELIVERIES/S", ">MISSED", ">REQUESTS", "BUS", ">NODES", ">DROPPED", "SINCE")
	for _, x := range s.hubs.Hubs {
		sends, published, deliveries := "", "", ""
		if old, ok := s.formerHub(x.Name); ok {
			per := func(now, then int64) string {
				return strconv.FormatFloat(max(float64(now-then), 0)/s.at.Sub(s.before.at).Seconds(), 'f', 0, 64)
			}
			sends, published = per(sum(x.Sends), sum(old.Sends)), per(x.Published, old.Published)
			deliveries = per(x.Deliveries["sent"], old.Deliveries["sent"])
		}
		missed := x.Sends["slow"] + x.Deliveries["slow"]
		bus, nodes, dropped, since := busCells(x.Bus)
		t.add(x.Name, strconv.Itoa(x.Clients), strconv.Itoa(x.Rooms), strconv.FormatInt(x.Joins["joined"], 10), sends, published, deliveries,
			strconv.FormatInt(missed, 10), strconv.FormatInt(x.RequestsWaiting, 10), bus, nodes, dropped, since)
	}
	return t
}

// busCells are empty for a hub without a bus.
func busCells(b *admin.Bus) (state, nodes, dropped, since string) {
	if b == nil {
		return "", "", "", ""
	}
	state = "connected"
	if !b.Connected {
		state = "AWAY"
	}
	if b.Since != nil {
		since = clock(*b.Since, time.Now())
	}
	return state, strconv.Itoa(b.Nodes), strconv.FormatInt(b.Dropped, 10), since
}

// sum adds up the counts of all results.
func sum(results map[string]int64) (n int64) {
	for _, count := range results {
		n += count
	}
	return n
}

// formerHub returns a hub as it was on the screen before.
func (s *screen) formerHub(name string) (admin.Hub, bool) {
	if s.before != nil {
		for _, x := range s.before.hubs.Hubs {
			if x.Name == name {
				return x, true
			}
		}
	}
	return admin.Hub{}, false
}
