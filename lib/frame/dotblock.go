package frame

import "bytes"

// DotBlock splits a stream into blocks of lines that end with a line of a single dot, as
// the message after DATA in SMTP (RFC 5321, 4.1.1.4 and 4.5.2). The frame is the lines
// before that line, with their line ends. A dot at the beginning of a line was added by
// the sender, and is removed. A block of no lines is ".\r\n", and its frame is empty. The
// zero value accepts frames up to DefaultMax.
//
// Lines end in "\r\n" only. A bare "\n" or "\r" is ErrLineEnd, so "\n.\n", "\n.\r\n" and
// the like never end a block. A server that accepts them lets a client hide a second
// message in a first one: SMTP smuggling, CVE-2023-51764, CVE-2023-51765, CVE-2023-51766.
// A stream that ends within a block ends with io.ErrUnexpectedEOF.
type DotBlock struct {
	// Max is the longest frame in bytes, with its line ends and without the dots that
	// were added. Zero or less means DefaultMax.
	Max int
}

// blockEnd ends a block that has lines.
var blockEnd = []byte("\r\n.\r\n")

// Split finds the first block. It searches each byte once, however the block was split up
// on its way. If lines begin with a dot, it copies the frame, because buf must not change.
func (d DotBlock) Split(buf []byte, seen int, eof bool) (frame []byte, n int, err error) {
	max := limit(d.Max)
	dot, err := findDotLine(buf, seen, true)
	if dot < 0 {
		if exceeds(buf, seen, max, eof) {
			return nil, 0, tooLong(max)
		}
		return nil, 0, nil
	}
	lines := buf[:dot:dot]
	size := dot - countDots(lines)
	switch {
	case size > max:
		return nil, 0, tooLong(max)
	case err != nil:
		return nil, 0, err
	case size < dot:
		lines = removeDots(make([]byte, 0, size), lines)
	}
	return lines, dot + len(".\r\n"), nil
}

// findDotLine returns the index of the first line of a single dot, or -1 if there is none.
// If a bare "\n" or "\r" comes before it, findDotLine returns the index of that and an
// error. The first seen bytes are known to have neither, but their last line may go on. whole
// says that buf begins with the beginning of a line.
func findDotLine(buf []byte, seen int, whole bool) (int, error) {
	for {
		end, err := findCRLF(buf, seen, len(buf))
		switch {
		case end < 0 || err != nil:
			return end, err
		case end == 1 && buf[0] == '.' && whole, end > 1 && buf[end-1] == '.' && buf[end-2] == '\n':
			return end - 1, nil
		}
		seen = end + len(crlf)
	}
}

// exceeds reports whether a frame is longer than max although its end has not arrived. It
// leaves the last bytes out, which may be a part of the end.
//
// To count the dots, it has to go through all of buf. So it does that only when buf has
// grown by a sixteenth of max since the last time. buf cannot become much longer than that
// needs: the shortest line with a dot is "..\r\n", so dots are at most a quarter of it.
func exceeds(buf []byte, seen, max int, eof bool) bool {
	if !eof {
		undecided := len(blockEnd) - 1
		step := max/16 + 64
		if steps(len(buf)-undecided-max, step) == steps(seen-undecided-max, step) {
			return false
		}
		buf = buf[:len(buf)-undecided]
	}
	return len(buf)-countDots(buf) > max
}

// steps returns how many steps it takes to make n bytes; none if n is negative.
func steps(n, step int) int { return (max(0, n) + step - 1) / step }

// countDots returns how many lines begin with a dot.
func countDots(lines []byte) int {
	n := bytes.Count(lines, []byte("\n."))
	if len(lines) > 0 && lines[0] == '.' {
		n++
	}
	return n
}

// removeDots appends lines to dst, each without the dot that it begins with.
func removeDots(dst, lines []byte) []byte {
	for len(lines) > 0 {
		lines = bytes.TrimPrefix(lines, []byte("."))
		i := bytes.Index(lines, []byte("\n.")) + 1
		if i == 0 {
			i = len(lines)
		}
		dst = append(dst, lines[:i]...)
		lines = lines[i:]
	}
	return dst
}

// Append appends payload as one block: it adds a dot to each line that begins with one,
// and ends the last line if it has no end. It returns ErrLineEnd if payload has a bare
// "\n" or "\r", and ErrTooLong if it is longer than Max.
func (d DotBlock) Append(dst, payload []byte) ([]byte, error) {
	end, err := missingEnd(payload)
	if err != nil {
		return dst, err
	}
	if max := limit(d.Max); len(payload)+len(end) > max {
		return dst, tooLong(max)
	}
	for rest := payload; len(rest) > 0; {
		if rest[0] == '.' {
			dst = append(dst, '.')
		}
		i := bytes.Index(rest, []byte("\n.")) + 1
		if i == 0 {
			i = len(rest)
		}
		dst = append(dst, rest[:i]...)
		rest = rest[i:]
	}
	dst = append(dst, end...)
	return append(dst, ".\r\n"...), nil
}

// missingEnd returns the end to append to the last line of payload: nothing if it has one,
// or if there is no line. It returns an error if payload has a bare "\n" or "\r".
func missingEnd(payload []byte) (end []byte, err error) {
	for line := 0; line < len(payload); {
		i, err := findCRLF(payload, line, len(payload))
		switch {
		case err != nil:
			return nil, err
		case i < 0 && payload[len(payload)-1] == '\r':
			return nil, errBareCR
		case i < 0:
			return crlf, nil
		}
		line = i + len(crlf)
	}
	return nil, nil
}

// The states of Discard.
const (
	discardBlock  = iota // buf begins with the block
	discardRest          // buf begins in the middle of a line, or with its end
	discardStream        // nothing can be trusted any more
)

// Discard implements Discarder. The block ends with the next line of a single dot. If a bare
// "\n" or "\r" comes before that line, others may see the end elsewhere. So then the rest of
// the stream is discarded.
func (d DotBlock) Discard(buf []byte, state uint64, _ bool) (n, next uint64, done bool) {
	if state == discardStream {
		return uint64(len(buf)), discardStream, false
	}
	switch dot, err := findDotLine(buf, 0, state == discardBlock); {
	case err != nil:
		return uint64(len(buf)), discardStream, false
	case dot >= 0:
		return uint64(dot + len(".\r\n")), 0, true
	}
	return uint64(len(buf) - begun(blockEnd, buf)), discardRest, false
}
