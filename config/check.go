package config

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"wireline/lib/field"
)

// check adds what is wrong with the values in the struct that root points to to the problems,
// but not for a key that has a problem already. If a source could not be read, check does
// nothing: the values of that source are not known.
func (r *reading) check(root reflect.Value) {
	if r.unread {
		return
	}
	visit(r.schema, root, func(path string, section any) {
		if s, ok := section.(interface{ Validate() error }); ok {
			for _, err := range leaves(s.Validate()) {
				r.refuse(path, err)
			}
		}
	})
}

// visit calls f with a pointer to the struct that root points to, and to each section in it,
// outer ones first. path is where the section is, as its fields are named in Go. The sections
// that members inherit are left out if there are members, which have the same values.
func visit(s *schema, root reflect.Value, f func(path string, section any)) {
	f("", root.Interface())
	visitFields(s, root.Elem(), "", f)
}

func visitFields(s *schema, v reflect.Value, path string, f func(path string, section any)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || field.Tag.Get("config") == "-" || isText(field.Type) {
			continue
		}
		below := join(path, field.Name)
		switch {
		case field.Type.Kind() == reflect.Struct && s.onlyDefaults(field.Type):
		case field.Type.Kind() == reflect.Struct:
			if field.Anonymous {
				below = path
			}
			f(below, v.Field(i).Addr().Interface())
			visitFields(s, v.Field(i), below, f)
		case isFamily(field.Type):
			visitMembers(s, v.Field(i), below, f)
		}
	}
}

// visitMembers visits copies of the members of a map: they have no addresses there.
func visitMembers(s *schema, all reflect.Value, path string, f func(path string, section any)) {
	names := all.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	for _, name := range names {
		member := reflect.New(all.Type().Elem())
		member.Elem().Set(all.MapIndex(name))
		f(join(path, name.String()), member.Interface())
		visitFields(s, member.Elem(), join(path, name.String()), f)
	}
}

// onlyDefaults reports whether t is the type of an inline struct whose values are only the
// defaults of members.
func (s *schema) onlyDefaults(t reflect.Type) bool {
	return slices.ContainsFunc(s.families, func(f *family) bool {
		return f.single && f.elem.typ == t && len(f.found()) > 0
	})
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
	set, bad := blame(r.settings, path, err)
	if set != nil {
		if set.beside {
			return // the other key has the problem too
		}
		problem = set.problem(bad)
	}
	if r.bad[problem.Key] || set != nil && set.key.member != nil && r.bad[set.key.member.section()] || r.told[problem.Error()] {
		return
	}
	r.told[problem.Error()] = true
	r.problems = append(r.problems, problem)
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
// If the value is that of another key, it is the error of that one.
func (s *setting) problem(bad *field.Error) *Error {
	for s.from != nil {
		s = s.from
	}
	return &Error{Key: s.key.name, Source: s.source, Err: &valueError{s.shown(), bad}}
}

// Blame returns err as Load returns its errors: with the key to blame and its source, an
// *Error. It is for errors that are found later, as by a server that begins to listen. err is
// of one of the sections, such as "tcp" or "services.redis.tcp"; they are tried in this order.
// An error that is about no key, or is an *Error already, is returned as it is.
func (l *Loaded) Blame(err error, sections ...string) error {
	var blamed []error
	for _, one := range leaves(err) {
		blamed = append(blamed, l.blameOne(one, sections))
	}
	return errors.Join(blamed...)
}

// blameOne is Blame of a single error.
func (l *Loaded) blameOne(err error, sections []string) error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	for _, section := range sections {
		if set, bad := blame(l.settings, l.schema.sections[section], err); set != nil {
			return set.problem(bad)
		}
	}
	return err
}

// Check asks each section what only the system can tell: it calls the methods
//
//	Check(ctx context.Context) error
//	Check(ctx context.Context, warn func(error)) error
//
// of the struct and of all sections in it, as tcp.Config has one. Their errors are returned as
// those of Load, those that they give to warn are given to warn. Answer calls it for --check.
func (l *Loaded) Check(ctx context.Context, warn func(error)) error {
	r := &reading{schema: l.schema, settings: l.settings, told: map[string]bool{}}
	visit(l.schema, l.into.Addr(), func(path string, section any) {
		var err error
		switch s := section.(type) {
		case interface{ Check(context.Context) error }:
			err = s.Check(ctx)
		case interface {
			Check(context.Context, func(error)) error
		}:
			err = s.Check(ctx, func(e error) { warn(l.blameAt(path, e)) })
		}
		for _, e := range leaves(err) {
			r.refuse(path, e)
		}
	})
	return errors.Join(r.problems...)
}

// blameAt is Blame for the section at path.
func (l *Loaded) blameAt(path string, err error) error {
	if set, bad := blame(l.settings, path, err); set != nil {
		return set.problem(bad)
	}
	return err
}
