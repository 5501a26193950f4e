package frame

import "bytes"

// The ends of a line, for Wrap to return.
var lf, crlf = []byte("\n"), []byte("\r\n")

// Line splits lines that end in "\n" or "\r\n". The zero value strips the end
// and takes lines up to DefaultMax. A last line without an end, before the end
// of the stream, is a frame too.
type Line struct {
	// Max is the longest line in bytes, its end not counted. Zero or less
	// means DefaultMax.
	Max int

	// KeepEnd leaves "\n" or "\r\n" in the frame, as it came.
	KeepEnd bool

	// CRLF makes Append end lines in "\r\n", as most of the older protocols
	// ask for (RFC 5321, 2.3.8). Split takes both ends in any case.
	CRLF bool
}

// Split finds the first line. It searches each byte once, however the line is
// cut up on its way.
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

// rest judges bytes without a line end: more may come, it is the last line, or
// it is too long whatever comes. One "\r" over the maximum may yet turn out to
// be part of the line's end.
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

// Append appends payload and its end. A payload that would not come out of
// Split as it is, because it holds a "\n" or ends in the "\r" that Split
// strips, is ErrDelimiter; one over Max is ErrTooLong. With KeepEnd a payload
// may bring its own end.
func (l Line) Append(dst, payload []byte) ([]byte, error) {
	head, end, err := l.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, end), nil
}

// Wrap implements Wrapper: the line's end comes after the payload.
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

// cutEnd returns the line without its own end, and the end that it lacks.
func cutEnd(line, end []byte) (head, lacks []byte) {
	head, ok := bytes.CutSuffix(line, crlf)
	if !ok {
		head, ok = bytes.CutSuffix(line, lf)
	}
	if ok {
		return head, nil
	}
	return line, end
}

// Discard implements Discarder: the frame ends with the next "\n".
func (l Line) Discard(buf []byte, _ uint64, _ bool) (n, next uint64, done bool) {
	if i := bytes.IndexByte(buf, '\n'); i >= 0 {
		return uint64(i + 1), 0, true
	}
	return uint64(len(buf)), 0, false
}
