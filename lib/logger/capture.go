package logger

import (
	"log/slog"
	"reflect"
)

// recordSize is about what a queued record takes in memory, without its strings.
const recordSize = 512

// capture returns a copy of r that can be written later, and about how many bytes it takes.
func capture(r slog.Record) (slog.Record, int) {
	size, volatile := recordSize+len(r.Message), false
	r.Attrs(func(a slog.Attr) bool {
		volatile = volatile || isVolatile(a.Value)
		size += attrSize(a)
		return true
	})
	if !volatile {
		return r.Clone(), size
	}
	size = recordSize + len(r.Message)
	c := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a.Value = settle(a.Value)
		size += attrSize(a)
		c.AddAttrs(a)
		return true
	})
	return c, size
}

// isVolatile reports whether v must be read now: it computes its value, or its bytes belong
// to a buffer that will be used again.
func isVolatile(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindLogValuer:
		return true
	case slog.KindAny:
		return isBytes(reflect.TypeOf(v.Any()))
	case slog.KindGroup:
		for _, a := range v.Group() {
			if isVolatile(a.Value) {
				return true
			}
		}
	}
	return false
}

func isBytes(t reflect.Type) bool {
	return t != nil && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// settle returns v with everything resolved or copied that is volatile.
func settle(v slog.Value) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindAny:
		if b := reflect.ValueOf(v.Any()); v.Any() != nil && isBytes(b.Type()) && !b.IsNil() {
			c := reflect.MakeSlice(b.Type(), b.Len(), b.Len())
			reflect.Copy(c, b)
			return slog.AnyValue(c.Interface())
		}
	case slog.KindGroup:
		group := make([]slog.Attr, len(v.Group()))
		for i, a := range v.Group() {
			group[i] = slog.Attr{Key: a.Key, Value: settle(a.Value)}
		}
		return slog.GroupValue(group...)
	}
	return v
}

// attrSize is about how many bytes the strings of a take.
func attrSize(a slog.Attr) int {
	size := len(a.Key)
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		size += len(v.String())
	case slog.KindAny:
		if b := reflect.ValueOf(v.Any()); v.Any() != nil && isBytes(b.Type()) {
			size += b.Len()
		}
	case slog.KindGroup:
		for _, a := range v.Group() {
			size += attrSize(a)
		}
	}
	return size
}
