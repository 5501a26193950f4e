package config

import (
	"errors"
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
	if c.Handler == "proxy" {
		for _, err := range leaves(c.Proxy.CheckListener(c.TCP.Network, c.TCP.Address)) {
			r.refuse("Proxy", err)
		}
	}
	r.checkSections(reflect.ValueOf(c).Elem(), "")
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
	if set, bad := blame(r.settings, path, err); set != nil {
		if set.inherited {
			return // the other key has the problem too
		}
		problem = set.problem(bad)
	}
	if !r.bad[problem.Key] {
		r.problems = append(r.problems, problem)
	}
}

// blame returns the setting that err, of the section at path, is about, and what is wrong with
// it; nil if err is not the error of a field with a key.
func blame(settings []*setting, path string, err error) (*setting, *field.Error) {
	var bad *field.Error
	if !errors.As(err, &bad) {
		return nil, nil
	}
	for _, set := range settings {
		if set.key.path == join(path, bad.Field) {
			return set, bad
		}
	}
	return nil, nil
}

// problem is the error of a setting: with its key, its source and its value as it was written.
func (s *setting) problem(bad *field.Error) *Error {
	return &Error{Key: s.key.name, Source: s.source, Err: &valueError{s.text, bad}}
}

// Blame returns err, of the server or its handler, as Load returns its errors: with the key to
// blame and its source, an *Error. An error that is about no key is returned as it is.
func (l *Loaded) Blame(err error) error {
	var blamed []error
	for _, one := range leaves(err) {
		for _, section := range []string{"TCP", "Proxy", "Echo"} {
			if set, bad := blame(l.settings, section, one); set != nil {
				one = set.problem(bad)
				break
			}
		}
		blamed = append(blamed, one)
	}
	return errors.Join(blamed...)
}
