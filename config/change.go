package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// Changed returns the keys whose values are not those in from, a configuration that was loaded
// earlier into a struct of the same type. A key that no source set before or sets now is not in the
// list: its value is that of another key, which is in the list. For a member of a map that only one of
// the two has, the list has its section, such as services.redis.
func (l *Loaded) Changed(from *Loaded) []string {
	var list []string
	add := func(name string) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	before, now := byName(from.settings), byName(l.settings)
	for _, set := range l.settings {
		was := before[set.key.name]
		switch {
		case was == nil:
			add(set.key.owner())
		case set.follows() && was.follows():
		case !reflect.DeepEqual(set.value, was.value):
			add(set.key.name)
		}
	}
	for _, was := range from.settings {
		if now[was.key.name] == nil {
			add(was.key.owner())
		}
	}
	return list
}

// Keep gives keys the values that they have in from, a configuration that was loaded earlier into a
// struct of the same type, also in the struct that l was loaded into. It is for what a program
// cannot change while it runs. names are keys and sections, such as "admin"; what only one of the
// two configurations has stays as it is. Keep returns the keys whose values were different.
//
// The values are checked again, because they may not go together. If they do not, nothing is
// changed, and the error is as that of Load.
func (l *Loaded) Keep(from *Loaded, names ...string) (kept []string, err error) {
	before := byName(from.settings)
	settings := slices.Clone(l.settings)
	for i, set := range settings {
		was := before[set.key.name]
		if was == nil || !set.key.isIn(names) || reflect.DeepEqual(set.value, was.value) {
			continue
		}
		old := *was
		old.key, old.kept = set.key, true
		settings[i] = &old
		kept = append(kept, set.key.name)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	r := &reading{schema: l.schema, settings: settings, told: map[string]bool{}, bad: map[string]bool{}}
	work := reflect.New(l.into.Type())
	work.Elem().Set(l.into)
	r.assign(work.Elem())
	r.check(work)
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	l.into.Set(work.Elem())
	l.settings = settings
	return kept, nil
}

// Key returns the key of a field, as a *field.Error names it, of a section such as "tcp" or
// "services.redis.tcp"; empty if the field has none.
func (l *Loaded) Key(section, field string) string {
	path := join(l.schema.sections[section], field)
	for _, set := range l.settings {
		if set.key.path == path {
			return set.key.name
		}
	}
	return ""
}

// owner is the section of the member that the key belongs to, or the key's name if there is none.
func (k *key) owner() string {
	if k.member != nil {
		return k.member.section()
	}
	return k.name
}

// isIn reports whether the key is one of names, or in a section that is.
func (k *key) isIn(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return k.name == name || strings.HasPrefix(k.name, name+".")
	})
}
