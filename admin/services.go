package admin

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"wireline/handler"
	"wireline/tcp"
)

// observed returns the service's handler, if its connections can be seen; otherwise nil.
func (x service) observed() handler.Observed {
	h, _ := x.Handler.(handler.Observed)
	return h
}

// totals returns what the service has done. If its handler does not tell, only Opened is there.
func (x service) totals(stats tcp.Stats) handler.Totals {
	if h := x.observed(); h != nil {
		return h.Totals()
	}
	return handler.Totals{Opened: stats.Accepted}
}

// open returns how many connections are open. If the handler does not tell, it is the server's
// number, with those that the handler does not have yet: no total can be made of it.
func (x service) open(t handler.Totals, stats tcp.Stats) int {
	if x.observed() != nil {
		return t.Open()
	}
	return stats.Active
}

// refusals returns the clients that were not served, by why: the names of the metric
// wireline_connections_refused_total.
func refusals(s tcp.Stats) map[string]uint64 {
	return map[string]uint64{
		"full":         s.RefusedFull,
		"per_ip":       s.RefusedPerIP,
		"per_prefix":   s.RefusedPerPrefix,
		"proxy_header": s.RefusedHeader,
		"handshake":    s.FailedHandshakes,
		"denied":       s.RefusedDenied,
		"memory":       s.RefusedMemory,
	}
}

// Services is the answer to GET /api/services.
type Services struct {
	Version  string    `json:"version"`
	Reloads  bool      `json:"reloads"` // whether POST /api/reload reads the configuration again
	Services []Service `json:"services"`
}

// Service is a service and its counts.
type Service struct {
	Name        string            `json:"name"`
	Addresses   []string          `json:"addresses"`
	Ready       bool              `json:"ready"`
	State       string            `json:"state,omitempty"` // "removed" while a service that was removed drains
	Connections int               `json:"connections"`
	Accepted    uint64            `json:"accepted"`
	Refused     map[string]uint64 `json:"refused"`
	Ended       []Ended           `json:"ended"`
	BytesIn     int64             `json:"bytes_in"`
	BytesOut    int64             `json:"bytes_out"`
	FramesIn    int64             `json:"frames_in"`
	FramesOut   int64             `json:"frames_out"`
	Panics      uint64            `json:"panics"`
	Probes      uint64            `json:"probes"`
}

// Ended counts the connections that have ended in one way.
type Ended struct {
	By     handler.Party  `json:"by"`
	Reason handler.Reason `json:"reason"`
	Count  uint64         `json:"count"`
}

// listServices answers with the services and their counts.
func (s *Server) listServices(w http.ResponseWriter, _ *http.Request) {
	list := []Service{}
	for _, x := range s.services() {
		list = append(list, x.json())
	}
	answer(w, Services{s.Version, s.Reload != nil, list})
}

func (x service) json() Service {
	stats := x.Stats()
	t := x.totals(stats)
	j := Service{
		Name:        x.name,
		Addresses:   []string{},
		Ready:       x.Ready(),
		Connections: x.open(t, stats),
		Accepted:    t.Opened,
		Refused:     refusals(stats),
		Ended:       []Ended{},
		BytesIn:     t.BytesIn,
		BytesOut:    t.BytesOut,
		FramesIn:    t.FramesIn,
		FramesOut:   t.FramesOut,
		Panics:      stats.Panics,
		Probes:      stats.Probes,
	}
	if x.removed {
		j.State = "removed"
	}
	for _, a := range x.Addrs() {
		j.Addresses = append(j.Addresses, a.String())
	}
	slices.Sort(j.Addresses)
	for cause, n := range t.Ended {
		j.Ended = append(j.Ended, Ended{cause.By, cause.Reason, n})
	}
	slices.SortFunc(j.Ended, func(a, b Ended) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.By, b.By))
	})
	return j
}

// Record is a connection, whether it has ended or not. By and Reason are empty for one that has
// not begun to end.
type Record struct {
	Service   string            `json:"service"`
	ID        uint64            `json:"id"`
	Peer      string            `json:"peer"`
	Upstream  string            `json:"upstream,omitempty"`
	TLS       *TLSInfo          `json:"tls,omitempty"`
	Begin     time.Time         `json:"begin"`
	AgeS      float64           `json:"age_s"` // how long it has lasted
	BytesIn   int64             `json:"bytes_in"`
	BytesOut  int64             `json:"bytes_out"`
	FramesIn  int64             `json:"frames_in"`
	FramesOut int64             `json:"frames_out"`
	By        handler.Party     `json:"by,omitempty"`
	Reason    handler.Reason    `json:"reason,omitempty"`
	Err       string            `json:"err,omitempty"`
	Attrs     map[string]string `json:"attrs,omitempty"`
}

// TLSInfo is handler.TLSInfo, as JSON.
type TLSInfo struct {
	Version    string `json:"version"`
	Cipher     string `json:"cipher"`
	ServerName string `json:"sni,omitempty"`
	Protocol   string `json:"alpn,omitempty"`
	Subject    string `json:"subject,omitempty"`
}

func (x service) record(r handler.Record) Record {
	j := Record{
		Service:   x.name,
		ID:        r.ID,
		Peer:      r.PeerText(),
		Upstream:  r.Upstream,
		Begin:     r.Begin,
		AgeS:      r.Duration.Seconds(),
		BytesIn:   r.BytesIn,
		BytesOut:  r.BytesOut,
		FramesIn:  r.FramesIn,
		FramesOut: r.FramesOut,
		By:        r.By,
		Reason:    r.Reason,
	}
	if t := r.TLS; t != nil {
		j.TLS = &TLSInfo{t.Version, t.Cipher, t.ServerName, t.Protocol, t.Subject}
	}
	if r.Err != nil {
		j.Err = r.Err.Error()
	}
	for _, a := range r.Attrs {
		if j.Attrs == nil {
			j.Attrs = make(map[string]string)
		}
		j.Attrs[a.Key] = a.Value.Resolve().String()
	}
	return j
}

// Ends is the answer to GET /api/ends, the latest first.
type Ends struct {
	Ends []Record `json:"ends"`
}

// listEnds answers with the connections that have ended last, the latest first.
func (s *Server) listEnds(w http.ResponseWriter, _ *http.Request) {
	list := []Record{}
	for x, h := range s.handlers() {
		for _, r := range h.Last() {
			list = append(list, x.record(r))
		}
	}
	end := func(r Record) time.Time { return r.Begin.Add(time.Duration(r.AgeS * float64(time.Second))) }
	slices.SortStableFunc(list, func(a, b Record) int { return end(b).Compare(end(a)) })
	answer(w, Ends{list})
}
