package handler_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/lib/logger"
	"wireline/tcptest"
)

func logTo(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

var sample = handler.Record{
	ID:       7,
	Peer:     &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000},
	Duration: 1500 * time.Millisecond,
	Counts:   handler.Counts{BytesIn: 10, BytesOut: 20, FramesIn: 1, FramesOut: 2},
	By:       handler.ByClient, Reason: handler.ReasonFIN,
}

func TestLogRecords(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*handler.Record)
		want   string
	}{
		{"ordinary", func(*handler.Record) {},
			"level=INFO msg=connection id=7 peer=192.0.2.1:5000 duration_s=1.5 bytes_in=10 bytes_out=20 frames_in=1 frames_out=2 by=client reason=fin\n"},
		{"unix", func(r *handler.Record) { r.Peer = &net.UnixAddr{Net: "unix"} },
			"level=INFO msg=connection id=7 peer=unix duration_s=1.5 bytes_in=10 bytes_out=20 frames_in=1 frames_out=2 by=client reason=fin\n"},
		{"reset", func(r *handler.Record) { r.Reason, r.Err = handler.ReasonReset, syscall.ECONNRESET },
			"level=INFO msg=connection id=7 peer=192.0.2.1:5000 duration_s=1.5 bytes_in=10 bytes_out=20 frames_in=1 frames_out=2 by=client reason=reset err=\"connection reset by peer\"\n"},
		{"probe", func(r *handler.Record) { r.Probe = true }, ""}, // debug
		{"failed probe", func(r *handler.Record) {
			r.Probe, r.By, r.Reason = true, handler.ByServer, handler.ReasonHandlerError
		}, "level=WARN msg=connection id=7 peer=192.0.2.1:5000 duration_s=1.5 bytes_in=10 bytes_out=20 frames_in=1 frames_out=2 by=server reason=handler_error\n"},
		{"failed", func(r *handler.Record) {
			r.By, r.Reason, r.Err = handler.ByServer, handler.ReasonHandlerError, errors.New("broken")
		}, "level=WARN msg=connection id=7 peer=192.0.2.1:5000 duration_s=1.5 bytes_in=10 bytes_out=20 frames_in=1 frames_out=2 by=server reason=handler_error err=broken\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			r := sample
			test.change(&r)
			handler.LogRecords(logTo(&out))(r)
			logger.Flush(patience)
			if got := out.String(); got != test.want {
				t.Errorf("got  %swant %s", got, test.want)
			}
		})
	}
}

// Nil is the default at the time of each record.
func TestLogRecordsNil(t *testing.T) {
	records, failures := handler.LogRecords(nil), handler.LogFailures(nil)
	text := defaultLog(t)
	records(sample)
	failed := sample
	failed.Reason, failed.Err = handler.ReasonHandlerError, errors.New("broken")
	failures(failed)
	logger.Flush(patience)
	if got := text.String(); !strings.Contains(got, "msg=connection ") || !strings.Contains(got, `msg="connection failed"`) {
		t.Errorf("logged %q", got)
	}
}

func TestLogFailures(t *testing.T) {
	var out bytes.Buffer
	record := handler.LogFailures(logTo(&out))
	for reason, err := range map[handler.Reason]error{
		handler.ReasonFIN:         nil,
		handler.ReasonReset:       syscall.ECONNRESET,
		handler.ReasonIOError:     syscall.ETIMEDOUT,
		handler.ReasonPanic:       nil, // logged by the server
		handler.ReasonIdleTimeout: errors.New("timeout"),
	} {
		r := sample
		r.Reason, r.Err = reason, err
		record(r)
	}
	logger.Flush(patience)
	if out.Len() > 0 {
		t.Errorf("ordinary ends were logged: %s", out.String())
	}
	for _, reason := range []handler.Reason{handler.ReasonHandlerError, handler.ReasonIOError} {
		out.Reset()
		r := sample
		r.Reason, r.Err = reason, errors.New("broken")
		record(r)
		logger.Flush(patience)
		if got := out.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "err=broken") {
			t.Errorf("%s was logged as %q", reason, got)
		}
	}
}

// The record does not depend on how the input was read.
func TestRecordOfACopy(t *testing.T) {
	for name, reader := range map[string]func(net.Conn) io.Reader{
		"copy": func(conn net.Conn) io.Reader { return conn },
		"read": func(conn net.Conn) io.Reader { return struct{ io.Reader }{conn} },
	} {
		t.Run(name, func(t *testing.T) {
			records := newRecords()
			h := handler.Func(func(_ context.Context, conn net.Conn) { io.Copy(io.Discard, reader(conn)) })
			h.OnRecord = records.Add
			s := tcptest.NewServer(h)
			defer s.Close()
			conn := s.Dial()
			send(t, conn, "hello")
			netconn.Reset(conn)
			if r := records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset || r.BytesIn != 5 && r.BytesIn != 0 {
				t.Errorf("record %+v", r)
			}
		})
	}
}
