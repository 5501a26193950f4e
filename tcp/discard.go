package tcp

// discard is the codec of a server without a handler: it skips all.
type discard struct{}

func (discard) Split(buf []byte, _ int, _ bool) ([]byte, int, error) { return nil, len(buf), nil }

func (discard) Append(dst, payload []byte) ([]byte, error) { return append(dst, payload...), nil }
