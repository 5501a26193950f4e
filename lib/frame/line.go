package frame

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrLineEnd reports a "\n" without "\r" before it, a bare LF, or a "\r" without "\n"
// after it, a bare CR, where a line may only end in "\r\n".
var ErrLineEnd = errors.New("line does not end in CRLF")

var (
	errBareLF = fmt.Errorf("%w: bare LF", ErrLineEnd)
	errBareCR = fmt.Errorf("%w: bare CR", ErrLineEnd)
)

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

	// Strict makes "\r\n" the only line end. A bare "\n" or "\r" is ErrLineEnd, and a
	// last line without an end is not a frame. Append ends lines in "\r\n". If two
	// servers do not agree about where a line ends, a client can hide a command from
	// one of them: SMTP smuggling, CVE-2023-51764. So RFC 5321, 2.3.8 demands this.
	Strict bool
}

// Split finds the first line. It searches each byte once, however the line was split up
// on its way.
func (l Line) Split(buf []byte, seen int, eof bool) (line []byte, n int, err error) {
	if l.Strict {
		return l.splitStrict(buf, seen)
	}
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

// splitStrict is Split with Strict. A line that is too long is searched up to Max, so that
// the error does not depend on how much of it has arrived.
func (l Line) splitStrict(buf []byte, seen int) (line []byte, n int, err error) {
	max := limit(l.Max)
	end, err := findCRLF(buf, seen, max+1)
	switch {
	case err != nil:
		return nil, 0, err
	case end >= 0:
		n = end + len(crlf)
		if l.KeepEnd {
			end = n
		}
		return buf[:end:end], n, nil
	case len(buf) > max && buf[max] != '\r':
		return nil, 0, tooLong(max)
	}
	return nil, 0, nil
}

// findCRLF returns the index of the first "\r\n" that begins in the first max bytes of
// buf, or -1 if there is none. If a bare "\n" or "\r" comes before it, findCRLF returns
// the index of that and an error. The first seen bytes are known to have neither, but the
// last of them may be the first half of a "\r\n".
func findCRLF(buf []byte, seen, max int) (int, error) {
	to := min(len(buf), max)
	from := min(seen, to)
	if from > 0 && buf[from-1] == '\r' {
		from--
	}
	lf := bytes.IndexByte(buf[from:to], '\n')
	if lf >= 0 {
		to = from + lf
	}
	cr := bytes.IndexByte(buf[from:to], '\r')
	switch {
	case cr < 0 && lf < 0:
		return -1, nil
	case cr < 0:
		return to, errBareLF
	}
	cr += from
	switch {
	case cr+1 == len(buf):
		return -1, nil // the "\n" may follow
	case buf[cr+1] != '\n':
		return cr, errBareCR
	}
	return cr, nil
}

// Append appends payload and a line end. It returns ErrDelimiter if Split would not
// return payload unchanged, because payload contains "\n" or ends in "\r", and
// ErrTooLong if payload is longer than Max. With Strict it returns ErrLineEnd for a bare
// "\n" or "\r". With KeepEnd, payload may already have a line end.
func (l Line) Append(dst, payload []byte) ([]byte, error) {
	head, end, err := l.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, end), nil
}

// Wrap implements Wrapper. The line end follows the payload.
func (l Line) Wrap(head, payload []byte) (newHead, end []byte, err error) {
	if l.Strict {
		return l.wrapStrict(head, payload)
	}
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

// wrapStrict is Wrap with Strict.
func (l Line) wrapStrict(head, payload []byte) (newHead, end []byte, err error) {
	length, end := len(payload), crlf
	switch i, err := findCRLF(payload, 0, len(payload)); {
	case err != nil:
		return head, nil, err
	case i >= 0 && l.KeepEnd && i+len(crlf) == len(payload):
		length, end = i, nil // payload has an end already
	case i >= 0:
		return head, nil, ErrDelimiter
	case length > 0 && payload[length-1] == '\r':
		return head, nil, errBareCR
	}
	if max := limit(l.Max); length > max {
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

// Discard implements Discarder. The frame ends with the next "\n", or "\r\n" with
// Strict.
func (l Line) Discard(buf []byte, _ uint64, _ bool) (n, next uint64, done bool) {
	end := lf
	if l.Strict {
		end = crlf
	}
	if i := bytes.Index(buf, end); i >= 0 {
		return uint64(i + len(end)), 0, true
	}
	return uint64(len(buf) - begun(end, buf)), 0, false
}

// begun returns how many bytes at the end of buf may be the first part of end.
func begun(end, buf []byte) int {
	n := min(len(buf), len(end)-1)
	for !bytes.HasPrefix(end, buf[len(buf)-n:]) {
		n--
	}
	return n
}
