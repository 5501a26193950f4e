package tlsfiles

import (
	"bytes"
	"slices"

	"wireline/lib/field"
)

// Part is files that are used together, such as a certificate and its key. If their new
// contents cannot be used, for example while they are being written, the previous ones stay
// in force. A Part is used by one goroutine at a time.
type Part[T any] struct {
	Source[T]
	Value T // what the last contents that could be used say; the zero value before

	texts [][]byte // the contents of the files, as far as Value has them
}

// Source reads and parses files; it adds the errors to e.
type Source[T any] interface {
	// Read returns the contents of the files, nil for one that cannot be read.
	Read(r *Reader, e *field.Errors) [][]byte

	// Parse returns what the contents say. It is called also if some cannot be read, for
	// the errors of the others; then its result is not used.
	Parse(texts [][]byte, e *field.Errors) T

	// String names the files, for the log.
	String() string
}

// NewPart returns a Part that was not read yet.
func NewPart[T any](s Source[T]) *Part[T] { return &Part[T]{Source: s} }

// Load reads the files, and takes over their contents if they have changed. They are compared
// as a whole: equal times and sizes do not prove that they have not changed.
func (p *Part[T]) Load(r *Reader) (changed bool, err error) {
	var e field.Errors
	texts := p.Read(r, &e)
	if e.Err() == nil && slices.EqualFunc(texts, p.texts, bytes.Equal) {
		return false, nil
	}
	value := p.Parse(texts, &e)
	if err := e.Err(); err != nil {
		return false, err
	}
	p.texts, p.Value = texts, value
	return true, nil
}
