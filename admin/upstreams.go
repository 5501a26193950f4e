package admin

import (
	"errors"
	"net/http"
	"time"

	"wireline/proxy"
)

// proxied is a handler with upstreams.
type proxied interface {
	Upstreams() []proxy.UpstreamStats
	SetUpstream(name string, c proxy.UpstreamChange) error
}

var _ proxied = (*proxy.Proxy)(nil)

// upstreams returns the upstreams of a service; none if it is no proxy.
func (x service) upstreams() []proxy.UpstreamStats {
	if p, ok := x.Handler.(proxied); ok {
		return p.Upstreams()
	}
	return nil
}

// Upstreams is the answer to GET /api/upstreams.
type Upstreams struct {
	Upstreams []Upstream `json:"upstreams"`
}

// Upstream is an upstream of a service.
type Upstream struct {
	Service     string              `json:"service"`
	Name        string              `json:"name"`
	State       proxy.UpstreamState `json:"state"` // as an operator wants it
	Weight      int                 `json:"weight"`
	Up          bool                `json:"up"`              // by the connects to it
	Since       *time.Time          `json:"since,omitempty"` // of the last change
	Err         string              `json:"err,omitempty"`   // why it is down
	Connections int                 `json:"connections"`
	Served      uint64              `json:"served"` // connections that it has had
	Connects    uint64              `json:"connects"`
	Failures    uint64              `json:"failures"`
	PoolIdle    int                 `json:"pool_idle"`
}

// listUpstreams answers with the upstreams of all services.
func (s *Server) listUpstreams(w http.ResponseWriter, _ *http.Request) {
	list := []Upstream{}
	for _, x := range s.services() {
		for _, u := range x.upstreams() {
			j := Upstream{
				Service:     x.name,
				Name:        u.Name,
				State:       u.State,
				Weight:      u.Weight,
				Up:          u.Up,
				Connections: u.Active,
				Served:      u.Connections,
				Connects:    u.Connects,
				Failures:    u.Failures,
				PoolIdle:    u.Pool.Idle,
			}
			if !u.Since.IsZero() {
				j.Since = &u.Since
			}
			if u.Err != nil {
				j.Err = u.Err.Error()
			}
			list = append(list, j)
		}
	}
	answer(w, Upstreams{list})
}

// setUpstream changes the state of an upstream, its weight, or both.
func (s *Server) setUpstream(w http.ResponseWriter, r *http.Request) {
	var body struct {
		State  proxy.UpstreamState `json:"state"`
		Weight *int                `json:"weight"`
	}
	if !readBody(w, r, &body) {
		return
	}
	if body.State == "" && body.Weight == nil {
		fail(w, http.StatusBadRequest, "body: neither state nor weight")
		return
	}
	service, name := r.PathValue("service"), r.PathValue("name")
	for _, x := range s.services() {
		p, ok := x.Handler.(proxied)
		if !ok || x.name != service {
			continue
		}
		change := proxy.UpstreamChange{State: body.State, Weight: body.Weight, By: r.RemoteAddr} // the proxy logs it
		if err := p.SetUpstream(name, change); errors.Is(err, proxy.ErrNoSuchUpstream) {
			fail(w, http.StatusNotFound, err.Error())
			return
		} else if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		answer(w, map[string]any{})
		return
	}
	fail(w, http.StatusNotFound, "no such upstream")
}
