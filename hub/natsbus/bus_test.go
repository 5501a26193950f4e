package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/handler"
	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

// awkward are names that must not do anything in a subject.
var awkward = []string{
	"plain", "with.dot", "*", ">", "a.*.b", "a.>", " ", "a b", "tab\t", "\r\nPUB x 0\r\n", "\x00", "a\x00b",
	"\xff\xfe", "ü", "=", "=41", "A", "a", "$SYS", strings.Repeat("x", 255), strings.Repeat("\xff", 255), ".", "..",
}

func TestAwkwardKeys(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		got, send := received()
		there := start(t, m.bus(url), &local{send: send})
		here := start(t, m.bus(url), &local{})
		ctx := context.Background()
		for _, key := range awkward {
			wantErr(t, "Send before the claim", here.Send(ctx, key, nil), hub.ErrUnknown)
			claim(t, there, key, hub.RefuseSecond, never(t))
		}
		for _, key := range awkward {
			if err := here.Send(ctx, key, []byte("hi")); err != nil {
				t.Fatalf("Send to %q: %v", key, err)
			}
			if g, want := testutil.Await(t, "no message", got), key+"=hi"; g != want {
				t.Fatalf("got %q, want %q", g, want)
			}
			if has, err := here.Has(ctx, key); !has || err != nil {
				t.Fatalf("Has(%q): %v, %v", key, has, err)
			}
		}
		for _, key := range []string{"", strings.Repeat("\xff", 2000)} {
			wantErr(t, "Send", here.Send(ctx, key, nil), hub.ErrName)
		}
	})
}

func TestAwkwardRooms(t *testing.T) {
	url := modes[0].server(t).URL()
	type message struct{ room, payload string }
	got := make(chan message, 100)
	there := start(t, modes[0].bus(url), &local{
		deliver: func(room string, payload []byte) { got <- message{room, string(payload)} },
		present: func(room string) []string { return []string{"in " + room} },
	})
	here := start(t, modes[0].bus(url), &local{})
	meet(t, here, there)
	for _, room := range awkward {
		stop := there.Listen(room)
		listening(t, here, got, room, message{room, "sync"})
		keys, err := here.Presence(context.Background(), room)
		if err != nil || !slices.Equal(keys, []string{"in " + room}) {
			t.Fatalf("Presence(%q): %q, %v", room, keys, err)
		}
		stop()
	}
}

// listening publishes "sync" until it arrives as want: Listen does not wait for the server. More of
// them may arrive later.
func listening[M comparable](t *testing.T, from *natsbus.Bus, got chan M, room string, want M) {
	t.Helper()
	testutil.Eventually(t, "nothing arrives in the room", func() bool {
		if err := from.Publish(room, []byte("sync")); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case g := <-got:
				if g == want {
					return true
				}
			case <-time.After(10 * time.Millisecond):
				return false
			}
		}
	})
}

func TestOrderInRooms(t *testing.T) {
	url := modes[0].server(t).URL()
	const rooms, messages = 20, 2000
	got := make(chan string, rooms*messages)
	last := make(map[string]int)
	done := make(chan struct{})
	there := start(t, modes[0].bus(url), &local{deliver: func(room string, payload []byte) { got <- room + " " + string(payload) }})
	here := start(t, modes[0].bus(url), &local{})
	for r := range rooms {
		room := fmt.Sprintf("room %d", r)
		there.Listen(room)
		listening(t, here, got, room, room+" sync")
	}
	go func() {
		defer close(done)
		for left := rooms * messages; left > 0; {
			text := <-got
			at := strings.LastIndexByte(text, ' ')
			var n int
			if _, err := fmt.Sscan(text[at:], &n); err != nil {
				continue // a late "sync"
			}
			left--
			if room := text[:at]; n != last[room]+1 {
				t.Errorf("%s: message %d after %d", room, n, last[room])
			}
			last[text[:at]] = n
		}
	}()
	for n := range messages {
		for r := range rooms {
			if err := here.Publish(fmt.Sprintf("room %d", r), fmt.Append(nil, n+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	testutil.Await(t, "messages are missing", done)
	if s := there.Stats(); s.Dropped != 0 {
		t.Errorf("dropped: %d", s.Dropped)
	}
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		var result error
		there := start(t, m.bus(url), &local{
			send: func(string, []byte) error { return result },
			request: func(_ context.Context, _ string, p []byte) ([]byte, error) {
				return append(p, '!'), result
			},
		})
		here := start(t, m.bus(url), &local{})
		claim(t, there, "k", hub.RefuseSecond, never(t))
		ctx := context.Background()
		answer, err := here.Request(ctx, "k", []byte("hello"))
		if string(answer) != "hello!" || err != nil {
			t.Fatalf("Request: %q, %v", answer, err)
		}
		for _, want := range []error{
			hub.ErrUnknown, handler.ErrSlowReader, handler.ErrClosed, hub.ErrNoID, hub.ErrIDInUse, hub.ErrNotJoined,
		} {
			result = fmt.Errorf("some more: %w", want)
			for what, err := range map[string]error{
				"Send": here.Send(ctx, "k", nil), "Kick": here.Kick(ctx, "k", "why"),
			} {
				wantErr(t, what, err, want)
			}
			_, err := here.Request(ctx, "k", nil)
			wantErr(t, "Request", err, want)
		}
		result = errors.New("what the codec says")
		if err := here.Send(ctx, "k", nil); err == nil || err.Error() != result.Error() {
			t.Fatalf("Send: %v", err)
		}
	})
}

func TestNoServer(t *testing.T) {
	b := modes[0].bus("nats://127.0.0.1:1")
	b.Timeout = 50 * time.Millisecond
	start(t, b, &local{})
	ctx := context.Background()
	_, refuse := b.Claim(ctx, "k", hub.RefuseSecond, never(t))
	_, kick := b.Claim(ctx, "k", hub.KickFirst, never(t))
	_, request := b.Request(ctx, "k", nil)
	_, has := b.Has(ctx, "k")
	_, presence := b.Presence(ctx, "r")
	for what, err := range map[string]error{
		"Send": b.Send(ctx, "k", nil), "Publish": b.Publish("r", nil), "Kick": b.Kick(ctx, "k", ""),
		"RefuseSecond": refuse, "KickFirst": kick, "Request": request, "Has": has, "Presence": presence,
	} {
		wantErr(t, what, err, hub.ErrAway)
	}
	claim(t, b, "k", hub.AllowBoth, never(t))
	b.Listen("r")
	b.Close()
	wantErr(t, "Send after Close", b.Send(ctx, "k", nil), hub.ErrClosed)
	wantErr(t, "Publish after Close", b.Publish("r", nil), hub.ErrClosed)
	_, err := b.Claim(ctx, "k", hub.KickFirst, never(t))
	wantErr(t, "Claim after Close", err, hub.ErrClosed)
}

// A program whose NATS cannot be reached says so, with an address that gives nothing away.
func TestLogWithoutServer(t *testing.T) {
	lines := make(chan string, 100)
	b := modes[0].bus("nats://user:p%40ss@127.0.0.1:1, nats://token@localhost:1")
	b.Timeout, b.Log = time.Second, slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	start(t, b, &local{})
	line := testutil.Await(t, "no line in the log", lines)
	if !strings.Contains(line, `level=WARN msg="cannot connect to NATS yet"`) ||
		!strings.Contains(line, "127.0.0.1:1") || !strings.Contains(line, "localhost:1") ||
		!strings.Contains(line, "refused") || strings.Contains(line, "ss@") || strings.Contains(line, "token") {
		t.Error(line)
	}
}

// lineWriter is the writer of a log that gives each line to a channel.
type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}

// Close does nothing after a Start that has failed, and Stats may be called meanwhile.
func TestStartFails(t *testing.T) {
	why := errors.New("no such file of credentials")
	for _, b := range []*natsbus.Bus{
		{Options: []nats.Option{func(*nats.Options) error { return why }}},
		{URL: "nats://%zz"},
		{Prefix: "a b"},
		{JetStream: &natsbus.JetStream{}, Options: []nats.Option{func(*nats.Options) error { return why }}},
	} {
		read := make(chan bool)
		go func() {
			defer close(read)
			for range 1000 {
				b.Stats()
			}
		}()
		if b.Start(&local{}) == nil {
			t.Error("Start returns no error")
		}
		testutil.Await(t, "Stats waits", read)
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestCloseWithoutStart(t *testing.T) {
	var b natsbus.Bus
	if err := b.Close(); err != nil || b.Stats() != (hub.BusStats{}) {
		t.Errorf("Close: %v", err)
	}
}
