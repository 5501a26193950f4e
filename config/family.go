package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// memberName is what a member of a family may be called. There is no "_" in it, so the name of
// a variable can be taken apart.
var memberName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// family is a map of structs: a section whose sections have names of the user's, such as
// services.redis.
type family struct {
	schema *schema // of the struct with the map
	elem   *schema // of one member, with names and paths relative to it
	name   string  // services
	path   string  // Services
	help   string
	index  []int // of the map
	single bool  // an inline struct of the same type has the keys that members inherit

	own   []string // relative names of keys that each member must set
	needs []string // relative names of keys that a member outside the file must set

	members map[string]*member
}

// member is one section of a family.
type member struct {
	family *family
	name   string // redis
	keys   []*key

	source string // that has named it first; empty if no source has
	inFile bool
}

// anyInFile reports whether the file has a member of any family.
func (s *schema) anyInFile() bool {
	for _, f := range s.families {
		for _, m := range f.members {
			if m.inFile {
				return true
			}
		}
	}
	return false
}

func isFamily(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.Struct
}

// newFamily makes the family of the map at k.
func newFamily(s *schema, k *key, tag reflect.StructTag) *family {
	if len(k.index) > 1 {
		panic(fmt.Sprintf("config: %s: a map must be a field of the outermost struct", k.path))
	}
	elem := walk(k.typ.Elem(), Options{Prefix: "X"})
	if len(elem.families) > 0 {
		panic(fmt.Sprintf("config: %s: a map in a map", k.path))
	}
	return &family{
		schema: s, elem: elem,
		name: k.name, path: k.path, help: k.help, index: k.index,
		own: namesIn(tag.Get("own")), needs: namesIn(tag.Get("needs")),
		members: map[string]*member{},
	}
}

// namesIn splits the text of a tag.
func namesIn(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// init finds out whether an inline struct has the keys that the members inherit.
func (f *family) init() {
	for i := range f.schema.typ.NumField() {
		field := f.schema.typ.Field(i)
		f.single = f.single || field.Type == f.elem.typ && field.Tag.Get("config") == ",inline"
	}
	for _, name := range slices.Concat(f.own, f.needs) {
		if f.elem.byName[name] == nil {
			panic(fmt.Sprintf("config: %s: there is no key %s for the tags own and needs", f.path, name))
		}
	}
}

// sorted returns the members by name.
func (f *family) sorted() []*member {
	var list []*member
	for _, name := range slices.Sorted(maps.Keys(f.members)) {
		list = append(list, f.members[name])
	}
	return list
}

// found returns the members that a source has named, by name.
func (f *family) found() []*member {
	return slices.DeleteFunc(f.sorted(), func(m *member) bool { return m.source == "" })
}

// member returns the member of a name, and adds its keys to the schema if they are not there
// yet.
func (f *family) member(name string) *member {
	if m := f.members[name]; m != nil {
		return m
	}
	m := &member{family: f, name: name}
	prefix, path := m.key(""), join(f.path, name)+"."
	for _, rel := range f.elem.keys {
		k := *rel
		k.name, k.path, k.member = prefix+rel.name, path+rel.path, m
		k.env = f.schema.prefix + envName(k.name)
		if rel.inherit != "" {
			k.inherit = prefix + rel.inherit
		}
		if f.single {
			k.def = f.schema.byName[rel.name].def
			if !slices.Contains(f.own, rel.name) {
				k.top = f.schema.byName[rel.name]
			}
		}
		m.keys = append(m.keys, &k)
		f.schema.byName[k.name] = &k
	}
	f.schema.sections[m.section()] = join(f.path, name)
	for section, rel := range f.elem.sections {
		f.schema.sections[prefix+section] = path + rel
	}
	f.members[name] = m
	return m
}

// key is the full name of a key of m.
func (m *member) key(relative string) string { return m.family.name + "." + m.name + "." + relative }

// section is the name of m: services.redis.
func (m *member) section() string { return join(m.family.name, m.name) }

// seen notes that a source has named m.
func (m *member) seen(source string) {
	if m.source == "" {
		m.source = source
	}
}

// members checks that the members have what each of them must set itself.
func (r *reading) members() {
	all := byName(r.settings)
	for _, f := range r.schema.families {
		for _, m := range f.found() {
			switch {
			case r.unread: // the file may have it
			case !m.inFile && !m.sets(all, f.needs):
				r.bad[m.section()] = true
				r.problems = append(r.problems, &Error{Key: m.section(), Source: m.source, Err: m.unexpected()})
			default:
				r.requireOwn(m, all)
			}
		}
	}
}

// sets reports whether a source sets all of the keys of m.
func (m *member) sets(all map[string]*setting, keys []string) bool {
	for _, name := range keys {
		if !all[m.key(name)].isSet() {
			return false
		}
	}
	return true
}

// unexpected is the error of a member that is not in the file and lacks keys.
func (m *member) unexpected() error {
	var needs, others []string
	for _, name := range m.family.needs {
		needs = append(needs, m.key(name))
	}
	for _, other := range m.family.found() {
		if other.inFile {
			others = append(others, other.name)
		}
	}
	meant := ""
	if near := closest(m.name, others); near != "" {
		meant = " (did you mean " + join(m.family.name, near) + "?)"
	}
	return fmt.Errorf("is in no file; to add it, set %s%s", strings.Join(needs, " and "), meant)
}

// requireOwn reports the keys that m must set itself and does not.
func (r *reading) requireOwn(m *member, all map[string]*setting) {
	for _, name := range m.family.own {
		if set := all[m.key(name)]; !set.isSet() && !r.bad[set.key.name] {
			r.bad[set.key.name] = true
			r.problems = append(r.problems, &Error{Key: set.key.name, Source: set.source,
				Err: fmt.Errorf("must be set for each of %s: it is not inherited", m.family.name)})
		}
	}
}

// grow adds the member that a name in a file or on the command line is of, such as
// services.redis or services.redis.tcp.address. It returns the member, which is nil if the
// name is of none, and the rest of the name.
func (s *schema) grow(name string) (m *member, rest string) {
	for _, f := range s.families {
		below, ok := strings.CutPrefix(name, f.name+".")
		if !ok {
			continue
		}
		member, rest, _ := strings.Cut(below, ".")
		if memberName.MatchString(member) {
			return f.member(member), rest
		}
	}
	return nil, ""
}

// inFamily reports whether a name in a file is below that of a family.
func (s *schema) inFamily(name string) bool {
	return slices.ContainsFunc(s.families, func(f *family) bool { return strings.HasPrefix(name, f.name+".") })
}

// growEnv adds the member that a variable sets a key of. It returns nil if there is no such
// key.
func (s *schema) growEnv(variable string) *member {
	for _, f := range s.families {
		below, ok := strings.CutPrefix(variable, s.prefix+envName(f.name)+"_")
		if !ok {
			continue
		}
		upper, rest, _ := strings.Cut(below, "_")
		name := strings.ToLower(upper)
		if upper != strings.ToUpper(upper) || !memberName.MatchString(name) {
			continue
		}
		if slices.ContainsFunc(f.elem.keys, func(k *key) bool { return envName(k.name) == rest }) {
			return f.member(name)
		}
	}
	return nil
}

// unknownKey is unknown for a name in a file or of a flag. A name of a member is only compared
// with the keys of that member.
func (s *schema) unknownKey(what, prefix, name string, known []string) error {
	if m, rest := s.grow(name); m != nil && rest != "" {
		return unknown(what, prefix+m.key(""), rest, m.family.elem.names())
	}
	return unknown(what, prefix, name, known)
}

// unknownVariable is the same for a variable, without its prefix.
func (s *schema) unknownVariable(name string, known []string) error {
	for _, f := range s.families {
		for _, m := range f.sorted() {
			of := envName(m.key(""))
			if rest, ok := strings.CutPrefix(strings.ToUpper(name), of); ok {
				var keys []string
				for _, k := range f.elem.keys {
					keys = append(keys, envName(k.name))
				}
				return unknown("variable", s.prefix+of, rest, keys)
			}
		}
	}
	return unknown("variable", s.prefix, name, known)
}
