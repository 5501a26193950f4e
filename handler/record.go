package handler

import (
	"context"
	"log/slog"
	"net"
	"time"

	"wireline/internal/netconn"
)

// Party is a side of a connection.
type Party string

// The sides, as a Record names them.
const (
	ByClient   Party = "client"
	ByServer   Party = "server"
	ByUpstream Party = "upstream" // of a proxy
)

// Reason is why a connection ended.
type Reason string

// The reasons. ByClient goes with ReasonFIN, ReasonReset and ReasonIOError, ByServer with the
// others.
const (
	ReasonFIN          Reason = "fin"           // the client closed its side, all was answered
	ReasonReset        Reason = "reset"         // the client reset the connection
	ReasonIdleTimeout  Reason = "idle_timeout"  // no byte either way for too long
	ReasonFrameTimeout Reason = "frame_timeout" // a begun frame was not ended in time
	ReasonWriteTimeout Reason = "write_timeout" // the client took no byte for too long
	ReasonSlowReader   Reason = "slow_reader"   // too many bytes were pending, see WhenSlow
	ReasonFrameError   Reason = "frame_error"   // what the client sent is no frame, or too long
	ReasonHandlerError Reason = "handler_error" // the frame function or OnOpen returned an error
	ReasonPanic        Reason = "panic"         // the handler panicked, or ended its goroutine
	ReasonClosed       Reason = "closed"        // the handler closed it
	ReasonHijacked     Reason = "hijacked"      // the handler took it over
	ReasonDrain        Reason = "drain"         // the server stops
	ReasonCut          Reason = "cut"           // the server stops, and the drain took too long
	ReasonIOError      Reason = "io_error"      // the system reported something else

	// Of a proxy. FIN, Reset and IOError may be the upstream's there.
	ReasonNoUpstream       Reason = "no_upstream"        // none could be reached
	ReasonHalfCloseTimeout Reason = "half_close_timeout" // one direction went on for too long after the end of the other
)

// Record tells how one connection went. It is written once, when it has ended.
type Record struct {
	ID   uint64   // counts the connections of one handler, from 1
	Peer net.Addr // the client's address

	// Upstream is the address that a proxy has relayed the connection to, or has
	// tried last; empty for other handlers.
	Upstream string

	Begin    time.Time
	Duration time.Duration // from then until the connection was closed

	BytesIn, BytesOut int64 // read from and written to the connection

	// FramesIn counts the frames served, FramesOut the calls of Write: one is
	// one frame if each reply is written in one call.
	FramesIn, FramesOut int64

	By     Party  // who ended it
	Reason Reason // and why
	Err    error  // what went wrong, if anything did
}

// LogRecords returns an OnRecord function that writes each record to log as
// one line: at level info, or warn when the handler or the system failed.
func LogRecords(log *slog.Logger) func(Record) {
	return func(r Record) {
		level := slog.LevelInfo
		if r.failed() {
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{
			slog.Uint64("id", r.ID),
			slog.String("peer", r.peer()),
			slog.Duration("duration", r.Duration.Round(time.Microsecond)),
			slog.Int64("bytes_in", r.BytesIn),
			slog.Int64("bytes_out", r.BytesOut),
		}
		if r.Upstream == "" {
			attrs = append(attrs, slog.Int64("frames_in", r.FramesIn), slog.Int64("frames_out", r.FramesOut))
		} else {
			attrs = append(attrs, slog.String("upstream", r.Upstream))
		}
		attrs = append(attrs, slog.String("by", string(r.By)), slog.String("reason", string(r.Reason)))
		if r.Err != nil {
			attrs = append(attrs, slog.String("err", r.Err.Error()))
		}
		log.LogAttrs(context.Background(), level, "connection", attrs...)
	}
}

// LogFailures returns an OnRecord function that writes a line only when the
// handler or the system failed, at level warn. A panic is not among that: the
// server writes it with its stack.
func LogFailures(log *slog.Logger) func(Record) {
	return func(r Record) {
		if r.failed() && r.Reason != ReasonPanic {
			attrs := []any{"id", r.ID, "peer", r.peer()}
			if r.Upstream != "" {
				attrs = append(attrs, "upstream", r.Upstream)
			}
			log.Warn("connection failed", append(attrs, "by", string(r.By), "reason", string(r.Reason), "err", r.Err)...)
		}
	}
}

// failed reports whether somebody should look at it: clients that come and go
// as they like are no failure.
func (r Record) failed() bool {
	switch r.Reason {
	case ReasonPanic, ReasonHandlerError, ReasonNoUpstream:
		return true
	case ReasonIOError:
		return !netconn.IsDisconnect(r.Err)
	}
	return false
}

// peer is the client's address as text. A client on a unix socket seldom has
// one: then it is the network's name.
func (r Record) peer() string {
	if r.Peer == nil {
		return ""
	}
	if s := r.Peer.String(); s != "" && s != "@" {
		return s
	}
	return r.Peer.Network()
}
