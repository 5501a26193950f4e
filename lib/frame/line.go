package frame

import "bytes"

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
	max := limit(l.Max)
	i := bytes.IndexByte(buf[seen:], '\n')
	if i < 0 {
		return l.rest(buf, max, eof)
	}
	i += seen
	end := i
	if end > 0 && buf[end-1] == '\r' {
		end--
	}
	if end > max {
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
func (l Line) rest(buf []byte, max int, eof bool) ([]byte, int, error) {
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
	line, end := payload, "\n"
	if l.CRLF {
		end = "\r\n"
	}
	if l.KeepEnd {
		line, end = cutEnd(payload, end)
	} else if n := len(line); n > 0 && line[n-1] == '\r' {
		return dst, ErrDelimiter
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		return dst, ErrDelimiter
	}
	if max := limit(l.Max); len(line) > max {
		return dst, tooLong(max)
	}
	dst = append(dst, line...)
	return append(dst, end...), nil
}

// cutEnd cuts the line's own end off it, or gives it the end that it lacks.
func cutEnd(line []byte, end string) ([]byte, string) {
	if head, ok := bytes.CutSuffix(line, []byte("\r\n")); ok {
		return head, "\r\n"
	}
	if head, ok := bytes.CutSuffix(line, []byte("\n")); ok {
		return head, "\n"
	}
	return line, end
}
