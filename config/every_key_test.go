package config_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/config"
	"wireline/handler"
	"wireline/internal/app"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// made is a value made up for a key: as text for the environment and the
// flags, as a literal that YAML, TOML and JSON have in common, and in Go.
type made struct {
	text, literal string
	value         any
}

// makeUp returns two values for a key, neither of which is its default, except
// that a bool has only two in all.
func makeUp(t *testing.T, k config.Key) [2]made {
	t.Helper()
	if texts := madeTexts[k.Type]; len(texts) == 2 {
		var values [2]made
		for i, text := range texts {
			value, err := k.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			values[i] = made{text, fmt.Sprintf("%q", text), value}
		}
		return values
	}
	quoted := func(text string, value any) made { return made{text, fmt.Sprintf("%q", text), value} }
	bare := func(text string, value any) made { return made{text, text, value} }
	switch k.Kind {
	case "string":
		return [2]made{quoted("made up", "made up"), quoted("@made: #up", "@made: #up")}
	case "bool":
		no, yes := bare("false", false), bare("true", true)
		if k.Default == "true" {
			return [2]made{no, yes}
		}
		return [2]made{yes, no}
	case "int":
		return [2]made{bare("7123", 7123), bare("-7124", -7124)}
	case "number":
		return [2]made{bare("7.125", 7.125), bare("-71e3", -71e3)}
	case "duration":
		return [2]made{quoted("1h7m", 67*time.Minute), quoted("71ms", 71*time.Millisecond)}
	case "size":
		return [2]made{quoted("71KiB", 71<<10), bare("7123", 7123)}
	case "list":
		return [2]made{
			{"made, up", `["made", "up"]`, []string{"made", "up"}},
			{"x", `["x"]`, []string{"x"}},
		}
	}
	t.Fatalf("%s: makeUp has no value for the kind %q: give it one", k.Name, k.Kind)
	panic("unreachable")
}

// madeTexts are the texts of values made up for types that read and write themselves.
var madeTexts = map[reflect.Type][]string{
	reflect.TypeFor[handler.CloseMode](): {"reset", "7s"},
	reflect.TypeFor[tcp.Switch]():        {"false", "true"},
	reflect.TypeFor[netip.Addr]():        {"192.0.2.1", "::1"},
}

// fileWith returns a file of a format that sets a key to a literal.
func fileWith(format, name, literal string) string {
	parts := strings.Split(name, ".")
	sections, last := parts[:len(parts)-1], parts[len(parts)-1]
	var b strings.Builder
	switch format {
	case "yaml":
		for i, section := range sections {
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), section)
		}
		fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", len(sections)), last, literal)
	case "toml":
		if len(sections) > 0 {
			fmt.Fprintf(&b, "[%s]\n", strings.Join(sections, "."))
		}
		fmt.Fprintf(&b, "%s = %s\n", last, literal)
	case "json":
		for _, section := range sections {
			fmt.Fprintf(&b, "{%q: ", section)
		}
		fmt.Fprintf(&b, "{%q: %s}%s", last, literal, strings.Repeat("}", len(sections)))
		if !json.Valid([]byte(b.String())) {
			panic("not JSON: " + b.String())
		}
	}
	return b.String()
}

// source makes the arguments and the environment in which a key has a value.
type source struct {
	name string
	set  func(t *testing.T, k config.Key, m made) (args, environ []string)
}

// sources are all of them, the weakest first.
func sources() []source {
	inFile := func(format string) source {
		return source{format, func(t *testing.T, k config.Key, m made) (args, environ []string) {
			file := "wireline." + format
			write(t, file, fileWith(format, k.Name, m.literal))
			return nil, []string{"WIRELINE_CONFIG=" + file}
		}}
	}
	return []source{
		inFile("yaml"), inFile("toml"), inFile("json"),
		{"env", func(_ *testing.T, k config.Key, m made) (args, environ []string) {
			return nil, []string{k.Env + "=" + m.text}
		}},
		{"flag", func(_ *testing.T, k config.Key, m made) (args, environ []string) {
			return []string{"--" + k.Name, m.text}, nil
		}},
	}
}

// comparable has addresses compared by ==.
var comparable = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// everyKeyOf proves for each key of a struct that every source sets it and
// nothing else, and that of two sources the stronger one counts.
func everyKeyOf[T any](t *testing.T, defaults T) {
	var read T
	if _, err := config.Read(&read, nil, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults, read, comparable); diff != "" {
		t.Fatalf("without any source (-want +got):\n%s", diff)
	}
	expect := func(t *testing.T, args, environ []string, k config.Key, value any) {
		t.Helper()
		want := defaults
		field := reflect.ValueOf(&want).Elem().FieldByIndex(k.Index)
		field.Set(reflect.ValueOf(value).Convert(field.Type()))
		var got T
		if _, err := config.Read(&got, args, environ); err != nil {
			t.Fatalf("args %q, environ %q: %v", args, environ, err)
		}
		if diff := cmp.Diff(want, got, comparable); diff != "" {
			t.Errorf("args %q, environ %q (-want +got):\n%s", args, environ, diff)
		}
	}
	for _, k := range config.Keys(defaults) {
		values := makeUp(t, k)
		for i, weak := range sources() {
			t.Run(k.Name+"/"+weak.name, func(t *testing.T) {
				t.Chdir(t.TempDir())
				for _, m := range values {
					args, environ := weak.set(t, k, m)
					expect(t, args, environ, k, m.value)
				}
			})
			for _, strong := range sources()[max(i+1, 3):] {
				t.Run(k.Name+"/"+weak.name+"<"+strong.name, func(t *testing.T) {
					t.Chdir(t.TempDir())
					for j := range values {
						args, environ := weak.set(t, k, values[j])
						moreArgs, moreEnviron := strong.set(t, k, values[1-j])
						expect(t, append(args, moreArgs...), append(environ, moreEnviron...), k, values[1-j].value)
					}
				})
			}
		}
	}
}

func TestEveryKey(t *testing.T) {
	testutil.Long(t)
	everyKeyOf(t, defaults())
}

// sample has every kind of value, and more sections than Config.
type sample struct {
	Name    string `config:"name" default:"" help:"empty | or not"`
	Skipped func() `config:"-"`
	Inline  struct {
		Own  tcp.Switch `config:"own,bool" default:"true"`
		Deep struct {
			Addr netip.Addr `config:"addr" default:"192.0.2.7"`
		} `config:"below"`
		Further struct {
			Last int `config:"last" default:"3"`
		} `config:",inline"`
	} `config:",inline"`
	Deep struct {
		Deeper struct {
			On      bool          `config:"on" default:"false"`
			Count   int           `config:"count" default:"-1"`
			Rate    float64       `config:"rate" default:"0.5"`
			Wait    time.Duration `config:"wait" default:"1m30s"`
			Size    int           `config:"max_size,size" default:"1MiB"`
			Targets []string      `config:"targets" default:"a, b"`
			None    []string      `config:"none" default:""`
		} `config:"deeper"`
	} `config:"deep"`
}

func TestEveryKeyOfEveryKind(t *testing.T) {
	var want sample
	want.Inline.Deep.Addr = netip.MustParseAddr("192.0.2.7")
	want.Inline.Further.Last = 3
	want.Deep.Deeper.Count = -1
	want.Deep.Deeper.Rate = 0.5
	want.Deep.Deeper.Wait = 90 * time.Second
	want.Deep.Deeper.Size = 1 << 20
	want.Deep.Deeper.Targets = []string{"a", "b"}
	everyKeyOf(t, want)
}

func TestKeysDoNotCollide(t *testing.T) {
	owner := map[string]string{
		"WIRELINE_CONFIG": "--config", "config": "--config",
		"check": "--check", "print-config": "--print-config", "version": "--version", "help": "--help",
	}
	for _, k := range config.Keys(app.Config{}) {
		for _, name := range []string{k.Name, k.Env} {
			if other := owner[name]; other != "" {
				t.Errorf("%s is the name of %s and of %s", name, other, k.Name)
			}
			owner[name] = k.Name
		}
		if k.Help == "" {
			t.Errorf("%s has no help", k.Name)
		}
	}
}

func TestFieldsWithoutAKey(t *testing.T) {
	type fields struct {
		Skipped chan int `config:"-"`
		hidden  chan int
		Named   int `config:"named" default:"0"`
	}
	keys := config.Keys(fields{hidden: nil})
	if len(keys) != 1 || keys[0].Name != "named" {
		t.Errorf("keys %v, want only the one of Named", keys)
	}
}

func TestTagsThatMakeNoSense(t *testing.T) {
	tests := []struct {
		of   any
		want string
	}{
		{struct{ A int }{}, "config: struct { A int }.A has no config tag"},
		{struct {
			A int `config:"a" default:"x"`
		}{}, `config: A: the default "x" is not a whole number`},
		{struct {
			A []int `config:"a"`
		}{}, `config: A: no kind of value for the type []int with the option ""`},
		{struct {
			A string `config:"a,size"`
		}{}, `config: A: no kind of value for the type string with the option "size"`},
		{struct {
			A string `config:"a"`
			B string `config:"a"`
		}{}, "config: the key a is there twice"},
		{struct {
			A string `config:"a"`
			B struct {
				C string `config:"a"`
			} `config:",inline"`
		}{}, "config: the key a is there twice"},
		{struct {
			A int `config:",inline"`
		}{}, `config: struct { A int "config:\",inline\"" }.A has no config tag`},
		{struct {
			A tcp.Switch `config:"a" default:"maybe"`
		}{}, `config: A: the default "maybe" is not true or false`},
	}
	for _, test := range tests {
		func() {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("%T:\n got %v\nwant %v", test.of, got, test.want)
				}
			}()
			config.Keys(test.of)
		}()
	}
}

// write makes a file in the working directory, which is the test's own.
func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
