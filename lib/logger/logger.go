package logger

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"

	"wireline/internal/netconn"
)

// levels are the words for Config.Level.
var levels = map[string]slog.Level{
	"":      slog.LevelInfo,
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// New returns a logger that writes to w as cfg says; programs pass os.Stderr.
// It fails where cfg.Validate does.
func New(w io.Writer, cfg Config) (*slog.Logger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: levels[cfg.Level]}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// IsDisconnect reports whether err is one of the ordinary ways in which a
// connection ends or stalls: its end of stream, a reset, a broken pipe, a
// time-out of ours or of the kernel's, or our own Close; or that under TLS the peer
// sends what is none, or an alert. Such an end is worth a record, not an alarm.
func IsDisconnect(err error) bool {
	for _, ordinary := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, ordinary) {
			return true
		}
	}
	return netconn.IsReset(err) || isTLS(err)
}

// isTLS reports whether err is of what the peer sends under TLS, and not of the network:
// package tls has it as an alert, sent or received, or as a bad record.
func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var op *net.OpError
	return errors.As(err, &record) || errors.As(err, &op) && (op.Op == "local error" || op.Op == "remote error")
}
