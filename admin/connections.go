package admin

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wireline/handler"
)

// How many connections an answer has: unless the request says otherwise, and at most.
const (
	defaultLimit = 100
	maxLimit     = 100_000
)

// Connections is the answer to GET /api/connections.
type Connections struct {
	Total       int          `json:"total"`   // all that are open
	Matched     int          `json:"matched"` // that the filter means
	Connections []Connection `json:"connections"`
}

// Connection is an open connection.
type Connection struct {
	Record
	State   handler.State `json:"state"`
	IdleS   float64       `json:"idle_s"`  // since the last byte
	Pending int           `json:"pending"` // bytes that wait to be sent
	Rate    *Rate         `json:"rate"`    // null if it is not known yet: ask again after a second
	Joined  []Joined      `json:"joined,omitempty"`
}

// found is an open connection of a service.
type found struct {
	service service
	live    handler.Live
	rate    *Rate
}

// find returns the open connections that f means. It measures the rates of all.
func (s *Server) find(f filter) (list []*found, total int) {
	before, counts, now := s.rates.begin()
	hubs := s.hubs()
	for x, h := range s.handlers() {
		for l := range h.Live() {
			total++
			key := connKey{x.name, l.ID}
			if counts != nil {
				counts[key] = l.Counts
			}
			if f.matches(x.name, l, hubs) {
				list = append(list, &found{x, l, before.of(key, l, now)})
			}
		}
	}
	s.rates.end(counts, now)
	return list, total
}

// orders are the values of the parameter sort. A "-" before them turns the order round.
var orders = map[string]func(a, b *found) int{
	"id":       func(a, b *found) int { return cmp.Compare(a.live.ID, b.live.ID) },
	"peer":     comparePeers,
	"upstream": compareUpstreams,
	"state":    func(a, b *found) int { return cmp.Compare(a.live.State, b.live.State) },
	"age":      func(a, b *found) int { return cmp.Compare(a.live.Duration, b.live.Duration) },
	"idle":     func(a, b *found) int { return cmp.Compare(a.live.Idle, b.live.Idle) },
	"pending":  func(a, b *found) int { return cmp.Compare(a.live.Pending, b.live.Pending) },
	"in":       func(a, b *found) int { return cmp.Compare(a.live.BytesIn, b.live.BytesIn) },
	"out":      func(a, b *found) int { return cmp.Compare(a.live.BytesOut, b.live.BytesOut) },
	"rate":     func(a, b *found) int { return cmp.Compare(a.rate.total(), b.rate.total()) },
}

// comparePeers orders clients by their IP addresses and ports. Those that have none come first, by
// the text of their addresses.
func comparePeers(a, b *found) int {
	if n := addrPortOf(a.live.Peer).Compare(addrPortOf(b.live.Peer)); n != 0 {
		return n
	}
	return cmp.Compare(a.live.PeerText(), b.live.PeerText())
}

// compareUpstreams does the same with upstreams, where a name or a path has no IP address.
func compareUpstreams(a, b *found) int {
	if a.live.Upstream == b.live.Upstream {
		return 0
	}
	x, _ := netip.ParseAddrPort(a.live.Upstream)
	y, _ := netip.ParseAddrPort(b.live.Upstream)
	return cmp.Or(x.Compare(y), cmp.Compare(a.live.Upstream, b.live.Upstream))
}

// total is what goes over the connection both ways; -1 if that is not known.
func (r *Rate) total() float64 {
	if r == nil {
		return -1
	}
	return r.BytesIn + r.BytesOut
}

// parseOrder reads the parameter sort. Connections that are equal in it are ordered by their
// services and IDs.
func parseOrder(q url.Values) (func(a, b *found) int, error) {
	name, down := strings.CutPrefix(cmp.Or(q.Get("sort"), "id"), "-")
	order := orders[name]
	if order == nil {
		return nil, fmt.Errorf("sort: %q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(orders)), ", "))
	}
	return func(a, b *found) int {
		n := order(a, b)
		if down {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(a.service.name, b.service.name), cmp.Compare(a.live.ID, b.live.ID))
	}, nil
}

// parseList reads which connections are to be listed, in which order, and how many.
func parseList(r *http.Request) (f filter, order func(a, b *found) int, limit int, err error) {
	q, err := parameters(r)
	if err == nil {
		f, err = parseFilter(q, "sort", "limit", "text")
		f.text = strings.ToLower(q.Get("text"))
	}
	if err == nil {
		limit, err = number(q, "limit", 0, maxLimit, defaultLimit)
	}
	if err == nil {
		order, err = parseOrder(q)
	}
	return f, order, limit, err
}

// listConnections answers with the open connections.
func (s *Server) listConnections(w http.ResponseWriter, r *http.Request) {
	f, order, limit, err := parseList(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	var body []byte
	if !s.inTurn(r, func() { body, err = encode(s.list(f, order, limit)) }) {
		busy(w)
		return
	}
	answerBody(w, body, err)
}

// list returns the first connections, in that order, that f means.
func (s *Server) list(f filter, order func(a, b *found) int, limit int) Connections {
	list, total := s.find(f)
	slices.SortFunc(list, order)
	matched := len(list)
	connections, hubs := make([]Connection, 0, min(limit, matched)), s.hubs()
	for _, c := range list[:min(limit, matched)] {
		connections = append(connections, c.json(hubs))
	}
	return Connections{total, matched, connections}
}

func (c *found) json(hubs []namedHub) Connection {
	return Connection{
		Record:  c.service.record(c.live.Record),
		State:   c.live.State,
		IdleS:   max(c.live.Idle, 0).Round(time.Microsecond).Seconds(),
		Pending: c.live.Pending,
		Rate:    c.rate,
		Joined:  joinedBy(c.live.Client, hubs),
	}
}

// closeMode reads the parameter mode.
func closeMode(q url.Values) (handler.CloseMode, error) {
	switch mode := q.Get("mode"); mode {
	case "", "close":
		return handler.CloseDefault, nil
	case "reset":
		return handler.CloseReset, nil
	default:
		return 0, fmt.Errorf("mode: %q is neither close nor reset", mode)
	}
}

// endConnection ends one connection.
func (s *Server) endConnection(w http.ResponseWriter, r *http.Request) {
	q, err := parameters(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	mode, err := closeMode(q)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, "the id is not a number")
		return
	}
	service := r.PathValue("service")
	l, ok := s.byID(service, id)
	if !ok {
		fail(w, http.StatusNotFound, "no such connection")
		return
	}
	l.Kick(mode)
	s.log().Info("connection ended by request", "service", service, "id", id, "client", r.RemoteAddr)
	answer(w, map[string]int{"ended": 1})
}

// byID returns an open connection.
func (s *Server) byID(service string, id uint64) (handler.Live, bool) {
	for x, h := range s.handlers() {
		if x.name != service {
			continue
		}
		for l := range h.Live() {
			if l.ID == id {
				return l, true
			}
		}
	}
	return handler.Live{}, false
}

// parseEnd reads which connections are to end, and how.
func parseEnd(r *http.Request) (f filter, mode handler.CloseMode, err error) {
	q, err := parameters(r)
	if err != nil {
		return f, mode, err
	}
	if f, err = parseFilter(q, "mode"); err != nil {
		return f, mode, err
	}
	if f.isZero() {
		return f, mode, fmt.Errorf("a filter is needed: one of %s", strings.Join(filterKeys, ", "))
	}
	mode, err = closeMode(q)
	return f, mode, err
}

// endConnections ends all connections that a filter means. There must be a filter.
func (s *Server) endConnections(w http.ResponseWriter, r *http.Request) {
	f, mode, err := parseEnd(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	var list []*found
	if !s.inTurn(r, func() { list, _ = s.find(f) }) {
		busy(w)
		return
	}
	for _, c := range list {
		c.live.Kick(mode)
	}
	s.log().Info("connections ended by request", "count", len(list), "filter", r.URL.RawQuery, "client", r.RemoteAddr)
	answer(w, map[string]int{"ended": len(list)})
}
