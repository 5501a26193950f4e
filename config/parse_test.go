package config_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/config"
)

func TestParse(t *testing.T) {
	tests := []struct {
		kind, text string
		want       any
		format     string // how it is written again, the same text if empty
	}{
		{"string", "", "", ""},
		{"string", " a,b ", " a,b ", ""},
		{"bool", "true", true, ""},
		{"bool", "false", false, ""},
		{"bool", "1", true, "true"},
		{"bool", "F", false, "false"},
		{"int", "0", 0, ""},
		{"int", "-12", -12, ""},
		{"int", "010", 10, "10"},
		{"int", "9223372036854775807", math.MaxInt, ""},
		{"number", "0.5", 0.5, ""},
		{"number", "1e6", 1e6, "1000000"},
		{"number", "-12", -12.0, ""},
		{"duration", "0", time.Duration(0), "0s"},
		{"duration", "10s", 10 * time.Second, ""},
		{"duration", "90s", 90 * time.Second, "1m30s"},
		{"duration", "10m", 10 * time.Minute, ""},
		{"duration", "1.5h", 90 * time.Minute, "1h30m"},
		{"duration", "100h", 100 * time.Hour, ""},
		{"duration", "1h0m5s", time.Hour + 5*time.Second, ""},
		{"duration", "250us", 250 * time.Microsecond, "250µs"},
		{"size", "0", 0, ""},
		{"size", "0GiB", 0, "0"},
		{"size", "65536", 65536, "64KiB"},
		{"size", "65537", 65537, ""},
		{"size", "64KiB", 64 << 10, ""},
		{"size", "1024KiB", 1 << 20, "1MiB"},
		{"size", "1GiB", 1 << 30, ""},
		{"size", strconv.Itoa(math.MaxInt>>30) + "GiB", math.MaxInt >> 30 << 30, ""},
		{"autosize", "auto", 0, ""},
		{"autosize", "0", -1, ""},
		{"autosize", "0KiB", -1, "0"},
		{"autosize", "65536", 65536, "64KiB"},
		{"list", "", []string(nil), ""},
		{"list", "a", []string{"a"}, ""},
		{"list", "a, b ,c", []string{"a", "b", "c"}, "a,b,c"},
	}
	for _, test := range tests {
		kind := config.Kinds[test.kind]
		got, err := kind.Parse(test.text)
		if err != nil {
			t.Errorf("%s %q: %v", test.kind, test.text, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", test.kind, test.text, diff)
		}
		if test.format == "" {
			test.format = test.text
		}
		if s := kind.Format(got); s != test.format {
			t.Errorf("%s %q is written again as %q, want %q", test.kind, test.text, s, test.format)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const (
		bool_    = "is not true or false"
		whole    = "is not a whole number"
		number   = "is not a number"
		outside  = "is out of range"
		duration = "is not a duration such as 10s or 1m30s"
		unit     = "has no unit, write 10s or 5m"
		negative = "must not be negative"
		size     = "is not a size such as 65536, 64KiB, 1MiB or 1GiB"
		autosize = "is not auto or a size such as 65536, 64KiB, 1MiB or 1GiB"
		item     = "has an empty item"
		utf8     = "is not UTF-8 text"
	)
	tests := map[string]map[string]string{
		"string": {"a\xff": utf8},
		"bool":   {"": bool_, "maybe": bool_, "yes": bool_, "on": bool_, "2": bool_, " true": bool_},
		"int": {
			"": whole, "ten": whole, "1.0": whole, "1e3": whole, "0x10": whole, "1_000": whole, " 1": whole, "true": whole,
			"9223372036854775808": outside, "-9223372036854775809": outside,
		},
		"number": {
			"": number, "fast": number, "NaN": number, "Inf": number, "-infinity": number, "0x1p4": number,
			"1_0.5": number, "1,5": number, "e": number, "1e400": outside,
		},
		"duration": {
			"": duration, "soon": duration, "10 s": duration, "1d": duration, "9999999999h": duration,
			"10": unit, "-5": unit, "0.5": unit, "1e3": unit, "-1s": negative, "-1ns": negative,
		},
		"size": {
			"": size, "KiB": size, "64KB": size, "64K": size, "64kib": size, "64 KiB": size, "64B": size, "1.5MiB": size,
			"-1": size, "+1": size, "1TiB": size, "1KiBKiB": size,
			"9223372036854775808": outside, "8589934592GiB": outside, "99999999999999999999KiB": outside,
		},
		"autosize": {
			"": autosize, "Auto": autosize, "none": autosize, "-1": autosize, "64KB": autosize,
			"9223372036854775808": outside,
		},
		"list": {",": item, "a,": item, "a, ,b": item, " ": item, "a,\xff": utf8},
	}
	for kind, texts := range tests {
		for text, want := range texts {
			got, err := config.Kinds[kind].Parse(text)
			if err == nil || err.Error() != want {
				t.Errorf("%s %q: got %v and the error %v, want %s", kind, text, got, err, want)
			}
		}
	}
}

// FuzzParse proves that what can be read is written so that it reads the same,
// and that an error has words.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "echo", "true", "10", "-0", "1e400", "NaN", "0.1", "10s", "1h0m0.5s", "2562047h47m16.854775807s",
		"64KiB", "8589934591GiB", "a, b", ",", "a\xff", "9223372036854775807",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, kind := range config.Kinds {
			value, err := kind.Parse(text)
			if err != nil {
				if err.Error() == "" {
					t.Errorf("%s %q: an error without words", name, text)
				}
				continue
			}
			if f, ok := value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
				t.Errorf("%s %q: %v", name, text, f)
			}
			again, err := kind.Parse(kind.Format(value))
			if err != nil {
				t.Errorf("%s %q is written again as %s: %v", name, text, strconv.Quote(kind.Format(value)), err)
			} else if diff := cmp.Diff(value, again); diff != "" {
				t.Errorf("%s %q written and read again (-first +second):\n%s", name, text, diff)
			}
		}
	})
}
