package config

import (
	"reflect"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// defaultSource is the source of a value that no source sets.
const defaultSource = "default"

// setting is a value that a source sets for a key.
type setting struct {
	key    *key
	source string
	text   string   // as it was written; a list with commas
	items  []string // of a real list; nil for other values
	value  any      // from parse

	// from is the setting whose value this one has, because no source sets the key: that of
	// the tag inherit (beside is true), or that of the same key in the outermost struct.
	from   *setting
	beside bool

	kept bool // the value is that of an earlier configuration: see Loaded.Keep
}

// shown is the text for an error.
func (s *setting) shown() string {
	if s.key.kind == secretKind {
		return masked(s.text)
	}
	return s.text
}

// parse sets value.
func (s *setting) parse() error {
	var err error
	if s.items != nil {
		s.value, err = checkItems(s.items)
	} else {
		s.value, err = s.key.kind.parse(s.text)
	}
	if err != nil {
		return &Error{Key: s.key.name, Source: s.source, Err: refuse(s.shown(), err)}
	}
	return nil
}

// isSet reports whether a source has set the value.
func (s *setting) isSet() bool { return s.source != defaultSource }

// follows reports whether the value is that of another key, or the default.
func (s *setting) follows() bool { return s.from != nil || !s.isSet() }

// shownSource is the source, for a reader.
func (s *setting) shownSource() string {
	if s.kept {
		return s.source + ", kept until a restart"
	}
	return s.source
}

// take gives s the value of another setting.
func (s *setting) take(from *setting, beside bool) {
	s.source, s.text, s.value, s.from, s.beside = "as "+from.key.name, from.text, from.value, from, beside
}

// reading is the result of all sources together.
type reading struct {
	schema   *schema
	action   Action
	settings []*setting      // those in force, one for each key in its order
	problems []error         // each an *Error
	told     map[string]bool // texts of problems of checks
	bad      map[string]bool // names of keys and members that have a problem already
	unread   bool            // a source could not be read at all
	name     string          // of the file; empty without one
	empty    bool            // there is a file, and it sets no key

	// layers has the settings of all sources and knows which one is in force. This
	// package puts them in, because viper itself knows only the environment of the
	// process, and takes "Handler" and "handler" in a file for the same key.
	layers *viper.Viper
}

// read collects the settings for the keys of s. With --help and --version it reads the
// command line only.
func read(s *schema, args, environ []string) *reading {
	r := &reading{schema: s, told: map[string]bool{}, bad: map[string]bool{}, layers: viper.New()}
	growFlags(s, args)
	flags := newFlags(s)
	flagProblems := parseFlags(s, flags, args)
	action, actionProblems := flagAction(flags)
	r.action = action
	if action == Version || action == Help {
		return r
	}
	r.file(flags.Lookup("config"), environ)
	r.environ(environ)
	r.problems = append(append(r.problems, flagProblems...), actionProblems...)
	r.flags(flags)
	r.defaults()
	r.members()
	return r
}

// defaults puts the defaults under all settings, and then finds out which setting of each key
// is in force.
func (r *reading) defaults() {
	for _, f := range r.schema.families { // some have been named only to find what is meant by them
		for _, m := range f.sorted() {
			if m.source == "" {
				delete(f.members, m.name)
			}
		}
	}
	for _, k := range r.schema.all() {
		set := &setting{key: k, source: defaultSource, text: k.def}
		if r.parse(set) {
			r.layers.SetDefault(k.name, set)
		}
		r.settings = append(r.settings, r.layers.Get(k.name).(*setting))
	}
}

// file reads the file that the flag or else the environment names, if any.
func (r *reading) file(flag *pflag.Flag, environ []string) {
	variable := r.schema.prefix + "CONFIG"
	name, from := lookupEnv(environ, variable), "env "+variable
	if flag.Changed {
		name, from = flag.Value.String(), "flag --config"
	} else if name == "" {
		return
	}
	r.name = name
	settings, problems, err := parseFile(r.schema, name, from)
	if err != nil {
		r.unread = true
		problems = []error{err}
	}
	r.empty = len(settings) == 0 && !r.schema.anyInFile()
	r.problems = append(r.problems, problems...)
	r.merge(settings)
}

func (r *reading) environ(environ []string) {
	settings, problems := parseEnv(r.schema, environ)
	r.problems = append(r.problems, problems...)
	r.merge(settings)
}

// merge puts settings over the defaults and over the settings before.
func (r *reading) merge(settings []*setting) {
	good := map[string]any{}
	for _, set := range settings {
		if r.parse(set) {
			good[set.key.name] = set
		}
	}
	if err := r.layers.MergeConfigMap(good); err != nil {
		r.problems = append(r.problems, &Error{Source: "settings", Err: err})
	}
}

// flags puts the flags over everything else.
func (r *reading) flags(flags *pflag.FlagSet) {
	flags.Visit(func(f *pflag.Flag) {
		k := r.schema.byName[f.Name]
		if k == nil {
			return
		}
		set := &setting{key: k, source: "flag --" + k.name, text: f.Value.String()}
		if k.member != nil {
			k.member.seen(set.source)
		}
		if r.parse(set) {
			r.layers.Set(k.name, set)
		}
	})
}

// parse parses a setting, and notes the problem if that fails.
func (r *reading) parse(set *setting) bool {
	if err := set.parse(); err != nil {
		r.problems = append(r.problems, err)
		r.bad[set.key.name] = true
		return false
	}
	return true
}

// byName returns the settings by the names of their keys.
func byName(settings []*setting) map[string]*setting {
	all := map[string]*setting{}
	for _, set := range settings {
		all[set.key.name] = set
	}
	return all
}

// inherit gives the keys that no source sets the value of the key that they inherit from, if
// a source sets that. The keys of a member inherit from the outermost struct first.
func (r *reading) inherit() {
	all := byName(r.settings)
	for _, set := range r.settings {
		if top := set.key.top; top != nil && !set.isSet() && all[top.name].isSet() {
			set.take(all[top.name], false)
		}
	}
	for _, set := range r.settings {
		if from := all[set.key.inherit]; from != nil && !set.isSet() && from.isSet() {
			set.take(from, true)
		}
	}
}

// assign sets the fields of the struct v.
func (r *reading) assign(v reflect.Value) {
	for _, f := range r.schema.families {
		v.FieldByIndex(f.index).SetZero()
	}
	members := map[*member]reflect.Value{}
	for _, set := range r.settings {
		owner, m := v, set.key.member
		if m != nil {
			if _, ok := members[m]; !ok {
				members[m] = reflect.New(m.family.elem.typ).Elem()
			}
			owner = members[m]
		}
		set.assign(owner.FieldByIndex(set.key.index))
	}
	for m, value := range members {
		all := v.FieldByIndex(m.family.index)
		if all.IsNil() {
			all.Set(reflect.MakeMap(all.Type()))
		}
		all.SetMapIndex(reflect.ValueOf(m.name).Convert(all.Type().Key()), value)
	}
}

// assign sets the field of the setting's key.
func (s *setting) assign(field reflect.Value) {
	field.Set(reflect.ValueOf(s.value).Convert(field.Type()))
	if s.key.zero != 0 && field.IsZero() {
		field.SetInt(s.key.zero)
	}
}
