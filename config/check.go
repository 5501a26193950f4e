package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"wireline/handler"
	"wireline/lib/field"
)

// check adds what is wrong with the values in c to the problems. Of a key that
// has one already it says no more, and it says nothing when a source is
// missing: who knows what that would have set.
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
	r.checkSections(reflect.ValueOf(c).Elem(), "")
}

// checkSections calls the Validate method of each section in v, a struct that
// is found at path. A section that has one answers for the sections in it.
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

// leaves takes joined errors apart.
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

// refuse adds an error of the section at path to the problems. When it is a
// field's, the user gets to see the key, the source and the value as written.
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
