package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"wireline/lib/field"
)

// kind says how values are written. parse reads one; its error continues a sentence that
// begins with the value ("is not a whole number"). format writes a value so that parse
// reads the same again.
type kind struct {
	name   string
	parse  func(text string) (any, error)
	format func(value any) string
}

var (
	stringKind   = &kind{"string", parseString, func(v any) string { return v.(string) }}
	secretKind   = &kind{"string", parseSecret, func(v any) string { return masked(v.(string)) }}
	boolKind     = &kind{"bool", parseBool, func(v any) string { return strconv.FormatBool(v.(bool)) }}
	intKind      = &kind{"int", parseInt, func(v any) string { return strconv.Itoa(v.(int)) }}
	numberKind   = &kind{"number", parseNumber, func(v any) string { return strconv.FormatFloat(v.(float64), 'f', -1, 64) }}
	durationKind = &kind{"duration", parseDuration, formatDuration}
	sizeKind     = &kind{"size", parseSize, formatSize}
	autoSizeKind = &kind{"size", parseAutoSize, formatAutoSize}
	listKind     = &kind{"list", parseList, func(v any) string { return strings.Join(v.([]string), ",") }}
)

// mask is shown in the place of a secret.
const mask = "(secret)"

// masked is what is shown of a secret.
func masked(secret string) string {
	if secret == "" {
		return ""
	}
	return mask
}

// parseSecret refuses the mask: a configuration that was printed does not have its secrets, and
// one that everybody knows must not take their place.
func parseSecret(text string) (any, error) {
	if text == mask {
		return nil, errors.New("stands for a secret that was not printed")
	}
	return parseString(text)
}

// kindOf returns the kind of a field, by its type and the option of its tag; nil if there
// is none.
func kindOf(t reflect.Type, option string) *kind {
	switch {
	case option == "secret" && t.Kind() == reflect.String && !isText(t):
		return secretKind
	case option == "secret":
		return nil // its values would be shown
	case isText(t):
		return textKind(t, cmp.Or(option, stringKind.name))
	case option == "size" && t.Kind() == reflect.Int:
		return sizeKind
	case option == "autosize" && t.Kind() == reflect.Int:
		return autoSizeKind
	case option != "":
		return nil
	case t == reflect.TypeFor[time.Duration]():
		return durationKind
	case t == reflect.TypeFor[[]string]():
		return listKind
	}
	switch t.Kind() {
	case reflect.String:
		return stringKind
	case reflect.Bool:
		return boolKind
	case reflect.Int:
		return intKind
	case reflect.Float64:
		return numberKind
	}
	return nil
}

// isText reports whether values of t read and write themselves.
func isText(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) &&
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// textKind is the kind of such a type; name is what --help calls it.
func textKind(t reflect.Type, name string) *kind {
	parse := func(text string) (any, error) {
		v := reflect.New(t)
		err := v.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
		var bad *field.Error
		if errors.As(err, &bad) {
			err = errors.New(bad.Reason)
		}
		return v.Elem().Interface(), err
	}
	format := func(value any) string {
		text, err := value.(encoding.TextMarshaler).MarshalText()
		if err != nil { // it was parsed
			panic(fmt.Sprintf("config: %v: %v", t, err))
		}
		return string(text)
	}
	return &kind{name, parse, format}
}

var (
	errRange    = errors.New("is out of range")
	errNegative = errors.New("must not be negative")
	errUnit     = errors.New("has no unit, write 10s or 5m")
	errItem     = errors.New("has an empty item")
)

func parseString(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("is not UTF-8 text")
	}
	return text, nil
}

func parseBool(text string) (any, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return nil, errors.New("is not true or false")
	}
	return b, nil
}

func parseInt(text string) (any, error) {
	n, err := strconv.Atoi(text)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return nil, errRange
	case err != nil:
		return nil, errors.New("is not a whole number")
	}
	return n, nil
}

// parseNumber reads decimal numbers only, not the hexadecimal ones, infinities and NaN that
// strconv.ParseFloat reads, too.
func parseNumber(text string) (any, error) {
	f, err := strconv.ParseFloat(text, 64)
	decimal := strings.Trim(text, "+-.0123456789eE") == ""
	switch {
	case errors.Is(err, strconv.ErrRange) && decimal:
		return nil, errRange
	case err != nil || !decimal:
		return nil, errors.New("is not a number")
	}
	return f, nil
}

// parseDuration refuses negative durations: no key has a use for them, even if the Go field
// has.
func parseDuration(text string) (any, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		if _, bare := parseNumber(text); bare == nil {
			return nil, errUnit
		}
		return nil, errors.New("is not a duration such as 10s or 1m30s")
	}
	if d < 0 {
		return nil, errNegative
	}
	return d, nil
}

// formatDuration leaves out the zero minutes and seconds that time.Duration.String writes
// after whole hours.
func formatDuration(v any) string {
	s := v.(time.Duration).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// units are the units of sizes, the largest first.
var units = []struct {
	name  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func parseSize(text string) (any, error) {
	for _, unit := range units {
		digits, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange), err == nil && n > uint64(math.MaxInt/unit.bytes):
			return nil, errRange
		case err == nil:
			return int(n) * unit.bytes, nil
		}
		break
	}
	return nil, errors.New("is not a size such as 65536, 64KiB, 1MiB or 1GiB")
}

func formatSize(v any) string {
	n := v.(int)
	for _, unit := range units {
		if n != 0 && n%unit.bytes == 0 {
			return strconv.Itoa(n/unit.bytes) + unit.name
		}
	}
	return "0"
}

// parseAutoSize reads a size whose default is derived from the machine: that is zero in the
// field, and "auto" as text. The size 0 is -1 in the field, no limit.
func parseAutoSize(text string) (any, error) {
	if text == "auto" {
		return 0, nil
	}
	n, err := parseSize(text)
	switch {
	case err != nil && err != errRange:
		return nil, errors.New("is not auto or a size such as 65536, 64KiB, 1MiB or 1GiB")
	case n == 0 && err == nil:
		return -1, nil
	}
	return n, err
}

func formatAutoSize(v any) string {
	switch n := v.(int); {
	case n == 0:
		return "auto"
	case n < 0:
		return "0"
	}
	return formatSize(v)
}

func parseList(text string) (any, error) {
	if text == "" {
		return []string(nil), nil
	}
	items := strings.Split(text, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
	}
	return checkItems(items)
}

// checkItems is parseList for items that were separated already.
func checkItems(items []string) (any, error) {
	for _, item := range items {
		if item == "" {
			return nil, errItem
		}
		if _, err := parseString(item); err != nil {
			return nil, err
		}
	}
	if len(items) == 0 {
		return []string(nil), nil
	}
	return items, nil
}
