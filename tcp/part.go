package tcp

import (
	"bytes"
	"slices"

	"wireline/lib/field"
)

// part is files that are used together, such as a certificate and its key. If their new
// contents cannot be used, for example while they are being written, the previous ones stay
// in force.
type part[T any] struct {
	source[T]
	texts [][]byte // the contents of the files, as far as value has them
	value T
}

// source reads and parses files; it adds the errors to e.
type source[T any] interface {
	// read returns the contents of the files, nil for one that cannot be read.
	read(e *field.Errors) [][]byte
	parse(texts [][]byte, e *field.Errors) T
	// String names the files, for the log.
	String() string
}

func newPart[T any](s source[T]) *part[T] { return &part[T]{source: s} }

// load reads the files for the first time.
func (p *part[T]) load() error {
	_, err := p.reload()
	return err
}

// reload reads the files, and takes over their contents if they have changed.
func (p *part[T]) reload() (changed bool, err error) {
	var e field.Errors
	texts := p.read(&e)
	if e.Err() == nil && slices.EqualFunc(texts, p.texts, bytes.Equal) {
		return false, nil
	}
	value := p.parse(texts, &e) // also if a file is missing, for the errors of the others
	if err := e.Err(); err != nil {
		return false, err
	}
	p.texts, p.value = texts, value
	return true, nil
}
