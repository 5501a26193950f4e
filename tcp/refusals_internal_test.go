package tcp

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// refusalLog is refusals that write lines without time and level.
type refusalLog struct {
	refusals
	mu  sync.Mutex
	out bytes.Buffer
}

func (r *refusalLog) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

// take returns the lines since the last call.
func (r *refusalLog) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.out.Reset()
	return r.out.String()
}

func newRefusalLog(level slog.Level) *refusalLog {
	r := new(refusalLog)
	log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	r.log = func() *slog.Logger { return log }
	return r
}

// want compares the lines since the last call.
func (r *refusalLog) want(t *testing.T, lines ...string) {
	t.Helper()
	synctest.Wait()
	want := ""
	for _, line := range lines {
		want += line + "\n"
	}
	if got := r.take(); got != want {
		t.Errorf("logged\n%swant\n%s", got, want)
	}
}

// The first client of each cause has a line at once. Then there is one every ten seconds, as
// long as there are more.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefusalLog(slog.LevelInfo)
		many := func(c cause, from, to int) {
			for i := from; i <= to; i++ {
				r.add(c, fmt.Sprintf("192.0.2.1:%d", i), slog.Int("limit", 7))
			}
		}
		many(causeFull, 1, 20)
		many(causeHandshake, 1, 1)
		r.add(causeWaiting, "")
		r.want(t,
			"level=INFO msg=refused cause=max_clients count=1 peer=192.0.2.1:1 limit=7",
			`level=INFO msg="TLS handshake failed" cause=tls_handshake count=1 peer=192.0.2.1:1 limit=7`,
			`level=INFO msg="full, further clients wait" cause=max_clients_wait count=1`)

		time.Sleep(summaryEvery - 1)
		r.want(t)
		time.Sleep(time.Nanosecond)
		r.want(t, "level=INFO msg=refused cause=max_clients count=19 peer=192.0.2.1:20 limit=7")
		many(causeHandshake, 2, 2) // its ten seconds are over, without another
		r.want(t, `level=INFO msg="TLS handshake failed" cause=tls_handshake count=1 peer=192.0.2.1:2 limit=7`)
		many(causeFull, 21, 22)
		time.Sleep(summaryEvery)
		r.want(t, "level=INFO msg=refused cause=max_clients count=2 peer=192.0.2.1:22 limit=7")
		time.Sleep(time.Hour)
		r.want(t)
		many(causeFull, 23, 25)
		r.want(t, "level=INFO msg=refused cause=max_clients count=1 peer=192.0.2.1:23 limit=7")

		r.flush()
		r.want(t, "level=INFO msg=refused cause=max_clients count=2 peer=192.0.2.1:25 limit=7")
		many(causeFull, 26, 27)
		r.close()
		r.want(t, "level=INFO msg=refused cause=max_clients count=2 peer=192.0.2.1:27 limit=7")
		many(causeFull, 28, 28) // after the end each has its line
		r.want(t, "level=INFO msg=refused cause=max_clients count=1 peer=192.0.2.1:28 limit=7")
		r.close()
		time.Sleep(time.Hour)
		r.want(t)
	})
}

// At level debug each client has a line.
func TestRefusalsDebug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefusalLog(slog.LevelDebug)
		for i := range 3 {
			r.add(causePerIP, fmt.Sprint(i))
		}
		r.close()
		r.want(t,
			"level=INFO msg=refused cause=max_clients_per_ip count=1 peer=0",
			"level=DEBUG msg=refused cause=max_clients_per_ip peer=1",
			"level=DEBUG msg=refused cause=max_clients_per_ip peer=2",
			"level=INFO msg=refused cause=max_clients_per_ip count=2 peer=2")
	})
}

// Clients that are refused at the same time are all counted.
func TestRefusalsConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefusalLog(slog.LevelInfo)
		for range 1000 {
			go r.add(causeFull, "")
		}
		synctest.Wait()
		r.close()
		if got := r.take(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "count=1\n") || !strings.Contains(got, "count=999\n") {
			t.Errorf("logged %s", got)
		}
	})
}
