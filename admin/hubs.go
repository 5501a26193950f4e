package admin

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"wireline/handler"
	"wireline/hub"
)

// namedHub is a hub with the name under which it is shown.
type namedHub struct {
	*hub.Hub
	name string
}

// hubs returns the hubs that are shown.
func (s *Server) hubs() []namedHub {
	var list []namedHub
	used := make(map[string]bool)
	for _, h := range s.Hubs {
		name := unused(cmp.Or(strings.ToValidUTF8(h.Name, "?"), "default"), used)
		used[name] = true
		list = append(list, namedHub{h, name})
	}
	return list
}

// The counts of a hub by result. The results are the labels of its metrics.

func joinResults(s hub.Stats) map[string]int64 {
	return map[string]int64{"joined": s.Joined, "taken": s.Refused, "failed": s.Failed}
}

func sendResults(s hub.SendStats) map[string]int64 {
	return map[string]int64{"sent": s.Sent, "slow": s.Slow, "gone": s.Gone, "unknown": s.Unknown, "failed": s.Failed}
}

func deliveryResults(s hub.PublishStats) map[string]int64 {
	return map[string]int64{"sent": s.Sent, "slow": s.Slow, "gone": s.Gone}
}

func requestResults(s hub.RequestStats) map[string]int64 {
	return map[string]int64{"answered": s.Answered, "failed": s.Failed}
}

// Hubs is the answer to GET /api/hubs.
type Hubs struct {
	Hubs []Hub `json:"hubs"`
}

// Hub is a hub and its counts, which are those of this process. Where a count is by result, the
// results are those of the metrics.
type Hub struct {
	Name            string           `json:"name"`
	Clients         int              `json:"clients"`
	Rooms           int              `json:"rooms"`
	Memberships     int              `json:"memberships"` // of the clients in rooms
	Joins           map[string]int64 `json:"joins"`
	Left            int64            `json:"left"`
	Replaced        int64            `json:"replaced"` // of those that have left
	Kicked          int64            `json:"kicked"`
	Sends           map[string]int64 `json:"sends"`
	Published       int64            `json:"published"`
	PublishFailures int64            `json:"publish_failures"` // of those published
	Deliveries      map[string]int64 `json:"deliveries"`       // to clients in rooms
	RequestsWaiting int64            `json:"requests_waiting"`
	Requests        map[string]int64 `json:"requests"`
	Bus             *Bus             `json:"bus,omitempty"`
}

// Bus is the bus of a hub.
type Bus struct {
	Connected  bool       `json:"connected"`
	Since      *time.Time `json:"since,omitempty"` // of the last change of connected
	Reconnects int64      `json:"reconnects"`
	Nodes      int        `json:"nodes"` // processes, with this one
	Out        int64      `json:"out"`   // messages
	In         int64      `json:"in"`
	Dropped    int64      `json:"dropped"`
	RoundTripS *float64   `json:"round_trip_s"` // null if it is not known
	Claims     int        `json:"claims"`       // keys that this process owns
	Lost       int64      `json:"lost"`         // keys that others have taken over
}

// listHubs answers with the hubs.
func (s *Server) listHubs(w http.ResponseWriter, _ *http.Request) {
	list := []Hub{}
	for _, h := range s.hubs() {
		list = append(list, h.json())
	}
	answer(w, Hubs{list})
}

func (h namedHub) json() Hub {
	s := h.Stats()
	return Hub{
		Name:            h.name,
		Clients:         s.Clients,
		Rooms:           s.Rooms,
		Memberships:     s.Memberships,
		Joins:           joinResults(s),
		Left:            s.Left,
		Replaced:        s.Replaced,
		Kicked:          s.Kicked,
		Sends:           sendResults(s.Sends),
		Published:       s.Publishes.Messages,
		PublishFailures: s.Publishes.Failed,
		Deliveries:      deliveryResults(s.Publishes),
		RequestsWaiting: s.Requests.Waiting,
		Requests:        requestResults(s.Requests),
		Bus:             busJSON(s.Bus),
	}
}

func busJSON(s *hub.BusStats) *Bus {
	if s == nil {
		return nil
	}
	b := &Bus{
		Connected:  s.Connected,
		Reconnects: s.Reconnects,
		Nodes:      s.Nodes,
		Out:        s.Out,
		In:         s.In,
		Dropped:    s.Dropped,
		Claims:     s.Claims,
		Lost:       s.Lost,
	}
	if !s.Since.IsZero() {
		b.Since = &s.Since
	}
	if s.RoundTrip > 0 {
		seconds := s.RoundTrip.Seconds()
		b.RoundTripS = &seconds
	}
	return b
}

// Joined says as what a connection is known to a hub.
type Joined struct {
	Hub   string `json:"hub"`
	Key   string `json:"key"`
	Rooms int    `json:"rooms"` // how many it is in
}

// joinedBy returns what hubs know of a client, which may be nil.
func joinedBy(c *handler.Client, hubs []namedHub) (list []Joined) {
	if c == nil {
		return nil
	}
	for _, h := range hubs {
		if key, ok := h.Key(c); ok {
			list = append(list, Joined{h.name, key, len(h.Rooms(c))})
		}
	}
	return list
}
