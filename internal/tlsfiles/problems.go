package tlsfiles

import "log/slog"

// Problems are those that a log was told of. A nil map is not ready to use.
type Problems map[string]string

// Note tells the log of an error, with a message, when it is another than before; nil is the
// end of it. about is what the error is about.
func (p Problems) Note(log *slog.Logger, about string, err error, message string) {
	if err == nil {
		delete(p, about)
		return
	}
	if text := err.Error(); p[about] != text {
		p[about] = text
		log.Warn(message, "err", err)
	}
}
