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

	inherited bool // source, text and value are those of another key
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
		return &Error{Key: s.key.name, Source: s.source, Err: refuse(s.text, err)}
	}
	return nil
}

// reading is the result of all sources together.
type reading struct {
	schema   *schema
	action   Action
	settings []*setting      // those in force, one for each key in its order
	problems []error         // each an *Error
	bad      map[string]bool // names of keys that a source gives an unusable value
	unread   bool            // a source could not be read at all

	// layers has the settings of all sources and knows which one is in force. This
	// package puts them in, because viper itself knows only the environment of the
	// process, and takes "Handler" and "handler" in a file for the same key.
	layers *viper.Viper
}

// read collects the settings for the keys of s. With --help and --version it reads the
// command line only.
func read(s *schema, args, environ []string) *reading {
	r := &reading{schema: s, bad: map[string]bool{}, layers: viper.New()}
	flags := newFlags(s)
	flagProblems := parseFlags(flags, args)
	action, actionProblems := flagAction(flags)
	r.action = action
	if action == Version || action == Help {
		return r
	}
	r.defaults()
	r.file(flags.Lookup("config"), environ)
	r.environ(environ)
	r.problems = append(append(r.problems, flagProblems...), actionProblems...)
	r.flags(flags)
	for _, k := range s.keys {
		r.settings = append(r.settings, r.layers.Get(k.name).(*setting))
	}
	return r
}

func (r *reading) defaults() {
	for _, k := range r.schema.keys {
		set := &setting{key: k, source: defaultSource, text: k.def}
		if r.parse(set) {
			r.layers.SetDefault(k.name, set)
		}
	}
}

// file reads the file that the flag or else the environment names, if any.
func (r *reading) file(flag *pflag.Flag, environ []string) {
	name, from := lookupEnv(environ, configEnv), "env "+configEnv
	if flag.Changed {
		name, from = flag.Value.String(), "flag --config"
	} else if name == "" {
		return
	}
	settings, problems, err := parseFile(r.schema, name, from)
	if err != nil {
		r.unread = true
		problems = []error{err}
	}
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

// inherit gives the keys that no source sets the value of the key that they inherit from, if
// a source sets that.
func (r *reading) inherit() {
	byName := map[string]*setting{}
	for _, set := range r.settings {
		byName[set.key.name] = set
	}
	for _, set := range r.settings {
		from := byName[set.key.inherit]
		if from != nil && set.source == defaultSource && from.source != defaultSource {
			set.source, set.text, set.value, set.inherited = "as "+from.key.name, from.text, from.value, true
		}
	}
}

// assign sets the fields of the struct that c points to.
func (r *reading) assign(c any) {
	v := reflect.ValueOf(c).Elem()
	for _, set := range r.settings {
		field := v.FieldByIndex(set.key.index)
		field.Set(reflect.ValueOf(set.value).Convert(field.Type()))
	}
}
