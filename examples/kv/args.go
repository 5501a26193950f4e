package main

// parseArray appends the arguments of an array to args, as slices of the array. Codec.Split
// has checked the array.
func parseArray(args [][]byte, array []byte) [][]byte {
	p := skipLength(array, 0)
	for p < len(array) {
		size := 0
		for p++; array[p] != '\r'; p++ {
			size = size*10 + int(array[p]-'0')
		}
		p += len("\r\n")
		args = append(args, array[p:p+size:p+size])
		p += size + len("\r\n")
	}
	return args
}

// skipLength returns the end of the line with a length that begins at p.
func skipLength(array []byte, p int) int {
	for array[p] != '\r' {
		p++
	}
	return p + len("\r\n")
}

// parseInline appends the arguments of an inline command to args, as slices of line. It
// removes the quoting in place, which never makes an argument longer. It reports false if a
// quote is not closed, or not followed by a space.
//
// A quote may begin anywhere in an argument, and ends it. Between double quotes "\xHH" is the
// byte with that number, \n \r \t \b \a are as in C, and any other byte after a backslash
// stands for itself. Between single quotes \' is the only escape.
func parseInline(args [][]byte, line []byte) ([][]byte, bool) {
	r, w := 0, 0
	for {
		for r < len(line) && isSpace(line[r]) {
			r++
		}
		if r == len(line) {
			return args, true
		}
		begin := w
		var ok bool
		if r, w, ok = unquote(line, r, w); !ok {
			return args, false
		}
		args = append(args, line[begin:w:w])
	}
}

// unquote moves the argument that begins at r to w, without its quotes. It returns where to go
// on reading and writing.
func unquote(line []byte, r, w int) (nextR, nextW int, ok bool) {
	for r < len(line) {
		switch c := line[r]; c {
		case ' ', '\n', '\r', '\t':
			return r, w, true
		case '"', '\'':
			move := doubleQuoted
			if c == '\'' {
				move = singleQuoted
			}
			if r, w, ok = move(line, r+1, w); !ok {
				return r, w, false
			}
			return r, w, r == len(line) || isSpace(line[r])
		default:
			line[w] = c
			r++
			w++
		}
	}
	return r, w, true
}

// doubleQuoted moves the bytes from r to the closing quote to w.
func doubleQuoted(line []byte, r, w int) (nextR, nextW int, ok bool) {
	for r < len(line) {
		c := line[r]
		r++
		switch {
		case c == '"':
			return r, w, true
		case c != '\\' || r == len(line):
		case line[r] == 'x' && r+2 < len(line) && isHex(line[r+1]) && isHex(line[r+2]):
			c = hexDigit(line[r+1])<<4 | hexDigit(line[r+2])
			r += len("xHH")
		default:
			c = escaped(line[r])
			r++
		}
		line[w] = c
		w++
	}
	return r, w, false
}

// singleQuoted moves the bytes from r to the closing quote to w.
func singleQuoted(line []byte, r, w int) (nextR, nextW int, ok bool) {
	for r < len(line) {
		c := line[r]
		r++
		switch {
		case c == '\'':
			return r, w, true
		case c == '\\' && r < len(line) && line[r] == '\'':
			c = '\''
			r++
		}
		line[w] = c
		w++
	}
	return r, w, false
}

// escaped returns the meaning of c after a backslash.
func escaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// isSpace is isspace of C, in the C locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
