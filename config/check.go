package config

import (
	"errors"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"wireline/handler"
	"wireline/lib/field"
)

// check adds what is wrong with the values in c to the problems, but not for a key that
// has a problem already. If a source could not be read, check does nothing: the values of
// that source are not known.
func (r *reading) check(c *Config) {
	if r.unread {
		return
	}
	if !slices.Contains(handlers, c.Handler) {
		reason := "must be " + strings.Join(handlers, " or ")
		r.refuse("", &field.Error{Field: "Handler", Value: c.Handler, Reason: reason})
	}
	if c.Handler == "proxy" && len(c.Proxy.Upstreams) == 0 {
		r.refuse("", &field.Error{Field: "Proxy.Upstreams", Value: "", Reason: "must name at least one for the handler proxy"})
	}
	if c.Handler == "proxy" && c.TCP.Linger == handler.CloseLingering {
		r.refuse("", &field.Error{Field: "TCP.Linger", Value: c.TCP.Linger, Reason: "is not for the handler proxy, which closes as the other side does"})
	}
	if own := c.TCP.Address; c.Handler == "proxy" {
		for _, u := range c.Proxy.Upstreams {
			if isItself(c.TCP.Network, own, u) {
				r.refuse("", &field.Error{Field: "Proxy.Upstreams", Value: u, Reason: "must not name this server's own address, tcp.address " + own})
				break
			}
		}
	}
	r.checkSections(reflect.ValueOf(c).Elem(), "")
}

// isItself reports whether an upstream is the address that the server listens on, so that each
// client would be relayed for ever. It resolves no names, and says no where it is not sure.
func isItself(network, own, upstream string) bool {
	if path, ok := strings.CutPrefix(upstream, "unix:"); ok || network == "unix" {
		return ok && network == "unix" && filepath.Clean(path) == filepath.Clean(own)
	}
	host, port, err := net.SplitHostPort(own)
	upHost, upPort, upErr := net.SplitHostPort(upstream)
	if err != nil || upErr != nil || port != upPort {
		return false
	}
	if host == upHost {
		return true
	}
	ip, upIP := loopbackOf(host), loopbackOf(upHost)
	if ip == nil || upIP == nil {
		return false
	}
	everywhere := host == "" || net.ParseIP(host).IsUnspecified()
	if network == "tcp4" && upIP.To4() == nil || network == "tcp6" && upIP.To4() != nil {
		return false
	}
	return ip.Equal(upIP) || everywhere && upIP.IsLoopback()
}

// loopbackOf returns the address of a host without asking anybody. That to which a connection to
// no address goes, and localhost, is 127.0.0.1. It returns nil for a name.
func loopbackOf(host string) net.IP {
	ip := net.ParseIP(host)
	if host == "" || host == "localhost" || ip != nil && ip.IsUnspecified() {
		if ip != nil && ip.To4() == nil {
			return net.IPv6loopback
		}
		return net.IPv4(127, 0, 0, 1)
	}
	return ip
}

// checkSections calls the method Validate of each section in v, the struct at path. If a
// section has the method, it also checks the sections inside.
func (r *reading) checkSections(v reflect.Value, path string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type.Kind() != reflect.Struct || !f.IsExported() || f.Tag.Get("config") == "-" {
			continue
		}
		below := join(path, f.Name)
		section, ok := v.Field(i).Addr().Interface().(interface{ Validate() error })
		if !ok {
			r.checkSections(v.Field(i), below)
			continue
		}
		for _, err := range leaves(section.Validate()) {
			r.refuse(below, err)
		}
	}
}

// leaves returns the single errors of joined ones.
func leaves(err error) (list []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		list = append(list, leaves(e)...)
	}
	return list
}

// refuse adds an error of the section at path to the problems. If it is the error of a
// field, the problem has the key, the source and the value as it was written.
func (r *reading) refuse(path string, err error) {
	problem := &Error{Source: "section " + path, Err: err}
	var bad *field.Error
	if errors.As(err, &bad) {
		for _, set := range r.settings {
			if set.key.path == join(path, bad.Field) {
				problem = &Error{Key: set.key.name, Source: set.source, Err: &valueError{set.text, bad}}
			}
		}
	}
	if !r.bad[problem.Key] {
		r.problems = append(r.problems, problem)
	}
}
