package handler_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/tcptest"
)

// The bounds of a lingering close whose client sends no FIN.
const (
	lingerTime  = 2 * time.Second
	lingerDrain = 500 * time.Millisecond
)

// startLingering serves a client whose connection lingers when it is closed, with f.
func startLingering(t *testing.T, f func(conn net.Conn)) (h *handler.Plain, client *tcptest.Conn) {
	t.Helper()
	h = handler.Func(func(_ context.Context, conn net.Conn) { f(conn) })
	h.OnRecord = func(handler.Record) {}
	client, server := tcptest.Pipe()
	t.Cleanup(func() { client.Close() })
	h.Accept(&accepted{ctx: t.Context(), conn: server, mode: handler.CloseLingering})
	synctest.Wait()
	return h, client
}

// A drain shortens it, for who is idle and for who lingers already, and lengthens it for
// nobody.
func TestDrainBoundsLingering(t *testing.T) {
	for name, test := range map[string]struct {
		f    func(conn net.Conn)
		wait time.Duration // before the drain
		want time.Duration // in the drain
	}{
		"idle":              {func(conn net.Conn) { io.Copy(io.Discard, conn) }, 0, lingerDrain},
		"returned":          {func(net.Conn) {}, lingerTime / 4, lingerDrain},
		"closed":            {func(conn net.Conn) { conn.Close() }, lingerTime / 4, lingerDrain},
		"lingers long":      {func(net.Conn) {}, lingerTime - lingerDrain/2, lingerDrain / 2},
		"asked from inside": {func(conn net.Conn) { conn.(*handler.Conn).Quit() }, lingerTime / 4, lingerDrain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, client := startLingering(t, test.f)
				time.Sleep(test.wait)
				began := time.Now()
				if err := h.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != test.want {
					t.Errorf("the drain took %v, want %v", took, test.want)
				}
				receiveAll(t, client, "")
			})
		})
	}
}

// Who closes a connection that lingers already waits for that, and does not end it.
func TestCloseTwiceWhileLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		h, _ := startLingering(t, func(conn net.Conn) {
			go conn.Close()
			time.Sleep(lingerTime / 2)
			conn.Close()
			if took := time.Since(began); took != lingerTime {
				t.Errorf("the second Close returned after %v, want %v", took, lingerTime)
			}
		})
		time.Sleep(lingerTime - 1)
		synctest.Wait()
		if h.Len() != 1 {
			t.Error("the connection lingers no more")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if h.Len() != 0 {
			t.Error("the connection lingers on")
		}
	})
}

// A reset ends the wait of both.
func TestResetWhileTwoLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, client := startLingering(t, func(conn net.Conn) {
			go conn.Close()
			go conn.Close()
			time.Sleep(lingerDrain)
			conn.(*handler.Conn).CloseWith(handler.CloseReset)
			conn.Close()
			if took := time.Since(began); took != lingerDrain {
				t.Errorf("took %v", took)
			}
		})
		time.Sleep(lingerDrain)
		synctest.Wait()
		if !client.WasReset() {
			t.Error("the client was not reset")
		}
	})
}
