package frame

import (
	"encoding/binary"
	"fmt"
)

// Append appends payload as a frame from which Split returns payload.
//
// If Split removes the length field, Append writes it. It writes zeros for the other
// bytes that Split removes. If Split leaves the length field in the frame, payload must
// contain it, and the length must be correct; otherwise the error is ErrLength. If no
// length can be encoded for payload, the error is ErrTooLong or ErrLength.
func (l Length) Append(dst, payload []byte) ([]byte, error) {
	head, _, err := l.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, nil), nil
}

// Wrap implements Wrapper. Everything comes before the payload.
func (l Length) Wrap(head, payload []byte) (newHead, tail []byte, err error) {
	if err := l.Validate(); err != nil {
		return head, nil, err
	}
	if l.KeepHeader || l.Strip > 0 && l.Strip <= l.Offset {
		return l.complete(head, payload)
	}
	extra := max(0, l.Strip-l.Offset-l.width()) // bytes after the field that Split removes
	body := len(payload) + extra
	if max := l.maxBody(); body > max {
		return head, nil, tooLong(max)
	}
	if body < l.Adjust {
		return head, nil, fmt.Errorf("%w: body of %d bytes is shorter than Adjust %d", ErrLength, body, l.Adjust)
	}
	head = appendZeros(head, l.Offset)
	head = l.appendField(head, uint64(body-l.Adjust))
	return appendZeros(head, extra), nil, nil
}

// complete is Wrap for a payload that contains the length field.
func (l *Length) complete(head, payload []byte) (newHead, tail []byte, err error) {
	inner := Length{Width: l.Width, LittleEndian: l.LittleEndian, Offset: l.Offset - l.Strip, Adjust: l.Adjust}
	field, total, err := inner.measure(payload)
	if err != nil {
		return head, nil, err
	}
	if field == 0 || total != uint64(len(payload)) {
		return head, nil, fmt.Errorf("%w: payload of %d bytes has a length for %d bytes", ErrLength, len(payload), total)
	}
	if max := limit(l.Max); len(payload)-field > max {
		return head, nil, tooLong(max)
	}
	return appendZeros(head, l.Strip), nil, nil
}

// maxBody returns the maximum number of bytes that Append can put after a length field.
func (l *Length) maxBody() int {
	max := limit(l.Max)
	if most := l.most(); most < MaxMax {
		max = min(max, int(most)+l.Adjust)
	}
	return max
}

func (l *Length) appendField(dst []byte, length uint64) []byte {
	if l.Width == Varint {
		return binary.AppendUvarint(dst, length)
	}
	width := l.width()
	for i := range width {
		if !l.LittleEndian {
			i = width - 1 - i
		}
		dst = append(dst, byte(length>>(8*i)))
	}
	return dst
}

func appendZeros(dst []byte, n int) []byte { return append(dst, make([]byte, n)...) }

// Discard implements Discarder. The header says how many bytes to discard, up to 1<<64
// - 1.
func (l Length) Discard(buf []byte, _ uint64, _ bool) (n, next uint64, done bool) {
	head, total, err := l.measure(buf)
	if err != nil || head == 0 {
		return 0, 0, false
	}
	return total, 0, true
}
