package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wireline/lib/field"
	"wireline/proxy"
)

// fieldOf is the path of a field of a service, as package config names it. The inline service
// has no name.
func fieldOf(name, field string) string {
	if name == "" {
		return field
	}
	return "Services." + name + "." + field
}

// checkAddresses reports services that would listen on the same address.
func (c *Config) checkAddresses(e *field.Errors) {
	names := c.names()
	for i, name := range names {
		s := c.Services[name]
		for _, earlier := range names[:i] {
			other := c.Services[earlier]
			e.Check(!s.TCP.Overlaps(&other.TCP), fieldOf(name, "TCP.Address"), s.TCP.Address,
				fmt.Sprintf("is an address of services.%s.tcp.address, %s", earlier, other.TCP.Address))
		}
	}
}

// upstreams returns where the upstreams of each proxy are, without looking up names.
func (c *Config) upstreams() map[string]map[string][]string {
	all := map[string]map[string][]string{}
	for name, s := range c.all() {
		if !s.isProxy() {
			continue
		}
		all[name] = map[string][]string{}
		for _, u := range s.Proxy.Upstreams {
			all[name][u] = []string{u}
		}
	}
	return all
}

// all returns the services by name, that without a name if it is the only one.
func (c *Config) all() map[string]*Service {
	if len(c.Services) == 0 {
		return map[string]*Service{"": &c.Service}
	}
	all := map[string]*Service{}
	for name, s := range c.Services {
		all[name] = &s
	}
	return all
}

// checkUpstreams looks up the names of upstreams, and reports those that are names of the
// listener itself, and services that relay to each other.
func (c *Config) checkUpstreams(ctx context.Context, warn func(error)) error {
	var e field.Errors
	addresses := map[string]map[string][]string{}
	all := c.all()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		if !s.isProxy() {
			continue
		}
		addresses[name] = s.Proxy.Addresses(ctx, func(err error) { warn(within(fieldOf(name, "Proxy"), err)) })
		for _, u := range s.Proxy.Upstreams {
			e.Check(!reaches(addresses[name][u], s), fieldOf(name, "Proxy.Upstreams"), u, "must not name this server's own address, "+s.TCP.Address)
		}
	}
	c.checkCycles(&e, addresses)
	return e.Err()
}

// reaches reports whether one of the addresses is the service's.
func reaches(addresses []string, s *Service) bool {
	return slices.ContainsFunc(addresses, func(a string) bool { return proxy.Reaches(a, s.TCP.Network, s.TCP.Address) })
}

// checkCycles reports services that relay to each other: each client would be relayed for ever,
// until no descriptor is left. addresses is where the upstreams of each proxy are.
func (c *Config) checkCycles(e *field.Errors, addresses map[string]map[string][]string) {
	g := relays{services: c.all(), addresses: addresses}
	for _, name := range c.names() {
		g.first, g.seen = name, map[string]bool{}
		if cycle, upstream := g.back(name); len(cycle) > 1 {
			e.Check(false, fieldOf(name, "Proxy.Upstreams"), upstream,
				"makes the services relay to each other: "+strings.Join(append(cycle, name), " -> "))
		}
	}
}

// relays is the graph of services that relay to others.
type relays struct {
	services  map[string]*Service
	addresses map[string]map[string][]string

	first string // the service whose cycles are looked for: it has the first name in them
	seen  map[string]bool
}

// back returns the services on a way from a service back to the first, and the upstream that it
// begins with; nil if there is none.
func (g *relays) back(from string) (way []string, upstream string) {
	g.seen[from] = true
	s := g.services[from]
	for _, u := range s.Proxy.Upstreams {
		for _, to := range g.reached(from, u) {
			if to == g.first {
				return []string{from}, u
			}
			if to < g.first || g.seen[to] {
				continue
			}
			if rest, _ := g.back(to); rest != nil {
				return append([]string{from}, rest...), u
			}
		}
	}
	return nil, ""
}

// reached returns the services, in order, that connections to an upstream of a service reach.
func (g *relays) reached(from, upstream string) (names []string) {
	for name, s := range g.services {
		if reaches(g.addresses[from][upstream], s) && !(name == from && name == g.first) { // a service alone has an error of its own
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
