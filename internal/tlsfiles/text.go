package tlsfiles

import "wireline/lib/field"

// Text returns the contents of the file that a field names. If the file cannot be read, Text
// returns nil, and adds the error to e.
func Text(r *Reader, e *field.Errors, name, file string) []byte {
	text, err := r.File(file)
	if Useless(e, name, file, err) {
		return nil
	}
	return text
}

// Useless adds err to e, if there is one, and reports whether there is. It is about the file
// that a field names.
func Useless(e *field.Errors, name, file string, err error) bool {
	if err != nil {
		e.Check(false, name, file, "cannot be used: "+err.Error())
	}
	return err != nil
}
