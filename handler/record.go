package handler

import (
	"context"
	"log/slog"
	"net"
	"time"

	"wireline/internal/netconn"
	"wireline/lib/logger"
)

// Party is one side of a connection.
type Party string

// The sides that a Record may name.
const (
	ByClient   Party = "client"
	ByServer   Party = "server"
	ByUpstream Party = "upstream" // of a proxy
)

// Reason says why a connection ended.
type Reason string

// The reasons. The party is ByClient for ReasonFIN, ReasonReset, ReasonIOError and ReasonTLS, and
// ByServer for the others. In a proxy, ByUpstream may also go with the first three.
const (
	ReasonFIN               Reason = "fin"                 // the client sent its FIN, and everything was answered
	ReasonReset             Reason = "reset"               // the client reset the connection
	ReasonIdleTimeout       Reason = "idle_timeout"        // no byte in either direction for too long
	ReasonReadTimeout       Reason = "read_timeout"        // the client sent nothing for too long
	ReasonFrameTimeout      Reason = "frame_timeout"       // a frame was not completed in time
	ReasonFirstFrameTimeout Reason = "first_frame_timeout" // the first frame was not completed in time
	ReasonMaxLifetime       Reason = "max_lifetime"        // the client was connected for long enough
	ReasonWriteTimeout      Reason = "write_timeout"       // the client accepted no output for too long
	ReasonSlowReader        Reason = "slow_reader"         // too much output was pending; see SlowClose
	ReasonMemory            Reason = "memory"              // all clients together held too much, and this one most; see Memory
	ReasonFrameError        Reason = "frame_error"         // the input is not a valid frame, or the frame is too long
	ReasonHandlerError      Reason = "handler_error"       // OnFrame or OnOpen returned an error
	ReasonPanic             Reason = "panic"               // the handler panicked or called runtime.Goexit
	ReasonClosed            Reason = "closed"              // the handler closed the connection
	ReasonApplication       Reason = "application"         // the handler closed it with an error of its own; see CloseFor
	ReasonKicked            Reason = "kicked"              // an operator closed it: Live.Kick
	ReasonHijacked          Reason = "hijacked"            // the handler hijacked the connection
	ReasonDrain             Reason = "drain"               // the server is shutting down
	ReasonCut               Reason = "cut"                 // the server is shutting down, and the drain took too long
	ReasonIOError           Reason = "io_error"            // another error of the connection
	ReasonTLS               Reason = "tls"                 // the handshake of StartTLS failed, or a record is not valid

	// Reasons of a proxy.
	ReasonNoUpstream       Reason = "no_upstream"        // no upstream could be reached
	ReasonHalfCloseTimeout Reason = "half_close_timeout" // one direction stayed open for too long after the end of the other
)

// Record describes a connection that has ended.
type Record struct {
	ID   uint64   // the handler numbers its connections from 1
	Peer net.Addr // the client's address

	// Upstream is the address of the upstream that a proxy connected the client to, or
	// tried last. It is empty for other handlers.
	Upstream string

	// TLS describes the TLS of the client's connection; nil without TLS, or before the end of
	// its handshake.
	TLS *TLSInfo

	Begin    time.Time
	Duration time.Duration // from Begin until the connection was closed

	Counts // of bytes and frames

	// Probe says that this was no client, but a check of a balancer or a monitor: a
	// connection that its peer has ended before a byte went either way, or one with the
	// PROXY header LOCAL.
	Probe bool

	By     Party  // who ended it
	Reason Reason // why it ended
	Err    error  // the error that ended it, or that of CloseFor; nil if there is none

	// Attrs are the attributes of Client.SetAttr, in the order in which they were set first. They
	// must not be changed.
	Attrs []slog.Attr
}

// LogRecords returns an OnRecord function that logs each record as one line. The level
// is warn if the handler or the system failed, debug for a probe, and info otherwise. Nil
// means slog.Default().
// The function does not wait for the log: it writes to it by logger.Async.
func LogRecords(log *slog.Logger) func(Record) {
	log = asyncLog(log)
	return func(r Record) {
		level := slog.LevelInfo
		switch {
		case r.failed():
			level = slog.LevelWarn
		case r.Probe:
			level = slog.LevelDebug
		}
		log := logger.Async(log)
		if !log.Enabled(context.Background(), level) {
			return
		}
		attrs := []slog.Attr{
			slog.Uint64("id", r.ID),
			slog.String("peer", r.PeerText()),
			logger.Seconds("duration", r.Duration.Round(time.Microsecond)),
			slog.Int64("bytes_in", r.BytesIn),
			slog.Int64("bytes_out", r.BytesOut),
		}
		if r.Upstream == "" {
			attrs = append(attrs, slog.Int64("frames_in", r.FramesIn), slog.Int64("frames_out", r.FramesOut))
		} else {
			attrs = append(attrs, slog.String("upstream", r.Upstream))
		}
		if r.TLS != nil {
			attrs = append(attrs, slog.Attr{Key: "tls", Value: r.TLS.LogValue()})
		}
		attrs = append(attrs, r.Attrs...)
		attrs = append(attrs, slog.String("by", string(r.By)), slog.String("reason", string(r.Reason)))
		if r.Err != nil {
			attrs = append(attrs, slog.String("err", r.Err.Error()))
		}
		log.LogAttrs(context.Background(), level, "connection", attrs...)
	}
}

// asyncLog returns the asynchronous logger for log; nil for nil, because slog.Default() may
// change.
func asyncLog(log *slog.Logger) *slog.Logger {
	if log == nil {
		return nil
	}
	return logger.Async(log)
}

// LogFailures returns an OnRecord function that logs a record only if the handler or
// the system failed, at level warn. It does not log panics: the server logs them with
// their stack. The log is used as by LogRecords.
func LogFailures(log *slog.Logger) func(Record) {
	log = asyncLog(log)
	return func(r Record) {
		if r.failed() && r.Reason != ReasonPanic {
			attrs := []any{"id", r.ID, "peer", r.PeerText()}
			if r.Upstream != "" {
				attrs = append(attrs, "upstream", r.Upstream)
			}
			for _, a := range r.Attrs {
				attrs = append(attrs, a)
			}
			logger.Async(log).Warn("connection failed", append(attrs, "by", string(r.By), "reason", string(r.Reason), "err", r.Err)...)
		}
	}
}

// failed reports whether the record needs attention. A client that disconnects is not a
// failure.
func (r Record) failed() bool {
	switch r.Reason {
	case ReasonPanic, ReasonHandlerError, ReasonNoUpstream:
		return true
	case ReasonIOError:
		return !netconn.IsDisconnect(r.Err)
	}
	return false
}

// PeerText returns the address of the client as text. A client on a unix socket usually has
// no address; then it is the name of the network.
func (r Record) PeerText() string {
	if r.Peer == nil {
		return ""
	}
	if s := r.Peer.String(); s != "" && s != "@" {
		return s
	}
	return r.Peer.Network()
}
