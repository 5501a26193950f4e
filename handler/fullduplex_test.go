package handler_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// WriteFrameContext waits for room no longer than its context, whatever the size of the frame. What
// it has given up is not sent, and the client goes on.
func TestWriteFrameContext(t *testing.T) {
	for _, size := range []int{100, 20_000} {
		synctest.Test(t, func(t *testing.T) {
			h := &handler.Frames{Codec: frame.Line{Max: 1 << 16}, MaxPending: 50}
			defer h.Close()
			conn, server := tcptest.PipeSize(1000)
			defer conn.Close()
			go h.Handle(t.Context(), server)
			synctest.Wait()
			c := onlyClient(t, h)
			first := strings.Repeat("a", 2000) // more than the pipe holds
			if err := c.WriteFrameContext(t.Context(), []byte(first)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGaveUp)
			defer cancel()
			begin := time.Now()
			if err := c.WriteFrameContext(ctx, []byte(strings.Repeat("b", size))); !errors.Is(err, errGaveUp) {
				t.Errorf("error %v", err)
			}
			within(t, "it gave up", time.Since(begin), time.Second, time.Second)
			done := make(chan error)
			go func() { done <- c.WriteFrameContext(t.Context(), []byte("last")) }()
			receive(t, conn, first+"\nlast\n")
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

var errGaveUp = errors.New("gave up")

// onlyClient returns the client that h has.
func onlyClient(t *testing.T, h *handler.Frames) *handler.Client {
	t.Helper()
	for c := range h.Clients().All() {
		return c
	}
	t.Fatal("there is no client")
	return nil
}

// A client knows what Accept got.
func TestAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{}
		defer h.Close()
		conn, server := tcptest.Pipe()
		defer conn.Close()
		go h.Handle(t.Context(), server)
		synctest.Wait()
		if got, err := onlyClient(t, h).Accepted().Conn(); got != server || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// With WholeFrames, a last line without an end is no frame: the client ends as with a codec that never
// takes the rest of a stream for a frame.
func TestWholeFrames(t *testing.T) {
	for _, test := range []struct {
		codec      frame.Codec
		sent       string
		served     string
		incomplete bool
	}{
		{frame.Line{}, "a\nb\n", "a\nb\n", false},
		{frame.Line{}, "a\nb\nc", "a\nb\n", true},
		{frame.Length{Width: 1}, "\x01a\x02bb", "\x01a\x02bb", false},
		{frame.Length{Width: 1}, "\x01a\x02b", "\x01a", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var record handler.Record
			var failure error
			h := &handler.Frames{
				Codec:       test.codec,
				WholeFrames: true,
				OnFrame:     func(c *handler.Client, b []byte) error { return c.WriteFrame(b) },
				OnError:     func(c *handler.Client, err error) { failure = err },
				OnRecord:    func(r handler.Record) { record = r },
			}
			conn, server := tcptest.Pipe()
			go h.Handle(t.Context(), server)
			tcptest.Send(t, conn, test.sent)
			tcptest.CloseWrite(t, conn)
			tcptest.ReceiveAll(t, conn, test.served)
			conn.Close()
			h.Close()
			by, reason, want := handler.ByClient, handler.ReasonFIN, error(nil)
			if test.incomplete {
				by, reason, want = handler.ByServer, handler.ReasonFrameError, io.ErrUnexpectedEOF
			}
			if record.By != by || record.Reason != reason || record.Err != want || failure != want {
				t.Errorf("%T, %q: OnError %v, %+v", test.codec, test.sent, failure, record)
			}
		})
	}
}
