package frame

import "bytes"

// The line ends that Wrap returns.
var lf, crlf = []byte("\n"), []byte("\r\n")

// Line splits a stream into lines that end in "\n" or "\r\n". The zero value removes
// the line end and accepts lines up to DefaultMax. A last line without an end is also a
// frame.
type Line struct {
	// Max is the longest line in bytes, without its end. Zero or less means DefaultMax.
	Max int

	// KeepEnd leaves the "\n" or "\r\n" in the frame.
	KeepEnd bool

	// CRLF makes Append end lines in "\r\n", as most older protocols demand (RFC 5321,
	// 2.3.8). Split accepts both ends in any case.
	CRLF bool
}

// Split finds the first line. It searches each byte once, however the line was split up
// on its way.
func (l Line) Split(buf []byte, seen int, eof bool) (line []byte, n int, err error) {
	i := bytes.IndexByte(buf[seen:], '\n')
	if i < 0 {
		return l.rest(buf, eof)
	}
	i += seen
	end := i
	if end > 0 && buf[end-1] == '\r' {
		end--
	}
	if max := limit(l.Max); end > max {
		return nil, 0, tooLong(max)
	}
	if l.KeepEnd {
		end = i + 1
	}
	return buf[:end:end], i + 1, nil
}

// rest handles bytes without a line end: they are an incomplete line, or the last line,
// or too long. A "\r" directly after Max bytes may still become part of the line end.
func (l Line) rest(buf []byte, eof bool) ([]byte, int, error) {
	max := limit(l.Max)
	mayEnd := !eof && len(buf) == max+1 && buf[max] == '\r'
	if len(buf) > max && !mayEnd {
		return nil, 0, tooLong(max)
	}
	if eof && len(buf) > 0 {
		return buf, len(buf), nil
	}
	return nil, 0, nil
}

// Append appends payload and a line end. It returns ErrDelimiter if Split would not
// return payload unchanged, because payload contains "\n" or ends in "\r", and
// ErrTooLong if payload is longer than Max. With KeepEnd, payload may already have a
// line end.
func (l Line) Append(dst, payload []byte) ([]byte, error) {
	head, end, err := l.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, end), nil
}

// Wrap implements Wrapper. The line end follows the payload.
func (l Line) Wrap(head, payload []byte) (newHead, end []byte, err error) {
	line, end := payload, lf
	if l.CRLF {
		end = crlf
	}
	if l.KeepEnd {
		line, end = cutEnd(payload, end)
	} else if n := len(line); n > 0 && line[n-1] == '\r' {
		return head, nil, ErrDelimiter
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		return head, nil, ErrDelimiter
	}
	if max := limit(l.Max); len(line) > max {
		return head, nil, tooLong(max)
	}
	return head, end, nil
}

// cutEnd returns the line without its own end, and the end to append: nothing if the
// line has one, otherwise end.
func cutEnd(line, end []byte) (head, missing []byte) {
	head, ok := bytes.CutSuffix(line, crlf)
	if !ok {
		head, ok = bytes.CutSuffix(line, lf)
	}
	if ok {
		return head, nil
	}
	return line, end
}

// Discard implements Discarder. The frame ends with the next "\n".
func (l Line) Discard(buf []byte, _ uint64, _ bool) (n, next uint64, done bool) {
	if i := bytes.IndexByte(buf, '\n'); i >= 0 {
		return uint64(i + 1), 0, true
	}
	return uint64(len(buf)), 0, false
}
