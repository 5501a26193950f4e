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

// These are the limits of a lingering close if the client sends no FIN.
const (
	lingerTime  = 2 * time.Second
	lingerDrain = 500 * time.Millisecond
)

// startLingering serves a client with f. Its connection lingers when it is closed.
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

// A drain shortens lingering, for clients that are idle and for those that linger
// already. It never lengthens it.
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

// A second Close of a lingering connection waits for the first one, and does not end
// it.
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
			t.Error("the connection stopped lingering")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if h.Len() != 0 {
			t.Error("the connection is still lingering")
		}
	})
}

// A reset ends lingering, also for a second Close that waits for it.
func TestResetEndsLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, client := startLingering(t, func(conn net.Conn) {
			go conn.Close()
			go conn.Close()
			time.Sleep(lingerDrain)
			conn.(*handler.Conn).CloseWith(handler.CloseReset)
			conn.Close()
			if took := time.Since(began); took != lingerDrain {
				t.Errorf("lingering ended after %v", took)
			}
		})
		time.Sleep(lingerDrain)
		synctest.Wait()
		if !client.WasReset() {
			t.Error("the client was not reset")
		}
	})
}
