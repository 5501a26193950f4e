package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

// The server is stopped and started again. Meanwhile everything fails at once, and afterwards
// everything works as before.
func TestServerRestart(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		e := m.server(t)
		e.Listen = strings.TrimPrefix(e.URL(), "nats://")
		url := e.URL()
		got, send := received()
		rooms := make(chan string, 1000)
		a := start(t, m.bus(url), &local{send: send, deliver: func(room string, payload []byte) { rooms <- string(payload) }})
		b := start(t, m.bus(url), &local{})
		ctx := context.Background()
		for n := range 100 {
			claim(t, a, fmt.Sprint(n), hub.RefuseSecond, never(t))
		}
		a.Listen("room")
		for range 2 {
			e.Close()
			testutil.Eventually(t, "it is not away", func() bool { return !a.Stats().Connected && !b.Stats().Connected })
			begin := time.Now()
			for n := range 100 {
				wantErr(t, "Send", b.Send(ctx, fmt.Sprint(n), nil), hub.ErrAway)
				wantErr(t, "Publish", b.Publish("room", []byte("sync")), hub.ErrAway)
			}
			if took := time.Since(begin); took > time.Second+testutil.Slack {
				t.Errorf("200 messages failed in %v", took)
			}
			if err := e.Start(); err != nil {
				t.Fatal(err)
			}
			testutil.Eventually(t, "it is not back", func() bool { return a.Stats().Connected && b.Stats().Connected })
			for n := range 100 {
				var err error
				testutil.Eventually(t, "Send does not work again", func() bool {
					err = b.Send(ctx, fmt.Sprint(n), []byte("x"))
					return err == nil
				})
				if g, want := testutil.Await(t, "no message", got), fmt.Sprint(n, "=x"); g != want {
					t.Fatalf("got %s, want %s", g, want)
				}
				_, err = b.Claim(ctx, fmt.Sprint(n), hub.RefuseSecond, never(t))
				wantErr(t, "Claim", err, hub.ErrTaken)
			}
			testutil.Eventually(t, "the room is silent", func() bool {
				b.Publish("room", []byte("again"))
				return testutil.Soon(10*time.Millisecond, func() bool { return len(rooms) > 0 })
			})
			for len(rooms) > 0 {
				if g := <-rooms; g != "again" {
					t.Errorf("%q was sent late", g)
				}
			}
		}
		if s := a.Stats(); s.Reconnects != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A bus uses the servers in URL that are there.
func TestSeveralURLs(t *testing.T) {
	b := start(t, modes[0].bus("nats://127.0.0.1:1, "+modes[0].server(t).URL()), &local{})
	if !b.Stats().Connected {
		t.Error("it is not connected")
	}
}

// The process that answers a request loses its connection, and its answer.
func TestLostAnswer(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		bus, g := through(m.bus(url))
		asked, answer := make(chan bool), make(chan bool)
		start(t, bus, &local{request: func(context.Context, string, []byte) ([]byte, error) {
			asked <- true
			<-answer
			return nil, nil
		}})
		here := start(t, m.bus(url), &local{})
		claim(t, bus, "k", hub.RefuseSecond, func() {})
		result := make(chan error, 1)
		go func() {
			_, err := here.Request(context.Background(), "k", nil)
			result <- err
		}()
		testutil.Await(t, "no request", asked)
		// The server answers this after it has passed on that the request is under way.
		wantErr(t, "Send", bus.Send(context.Background(), "nobody", nil), hub.ErrUnknown)
		g.close()
		testutil.Eventually(t, "it is not away", func() bool { return !bus.Stats().Connected })
		close(answer)
		wantErr(t, "Request", testutil.Await(t, "the request does not end", result), hub.ErrLost)
	})
}

func TestRequestsEnd(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		asked, ended := make(chan bool, 10), make(chan bool, 10)
		l := &local{request: func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			asked <- true
			<-ctx.Done()
			ended <- true
			return nil, ctx.Err()
		}}
		there, here := start(t, m.bus(url), l), start(t, m.bus(url), &local{})
		claim(t, there, "k", hub.RefuseSecond, func() {})
		request := func(ctx context.Context) chan error {
			result := make(chan error, 1)
			go func() {
				_, err := here.Request(ctx, "k", nil)
				result <- err
			}()
			testutil.Await(t, "no request", asked)
			return result
		}

		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		result := request(ctx)
		cancel(why)
		wantErr(t, "after the end of ctx", testutil.Await(t, "no end", result), why)
		testutil.Await(t, "the other process does not hear of the end of ctx", ended)

		result = request(context.Background())
		there.Close()
		wantErr(t, "after the end of the other process", testutil.Await(t, "no end", result), hub.ErrLost)

		claim(t, start(t, m.bus(url), l), "k", hub.RefuseSecond, func() {})
		result = request(context.Background())
		here.Close()
		if err := testutil.Await(t, "no end", result); !errors.Is(err, hub.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		testutil.Await(t, "the request goes on for nobody", ended)
	})
}

func TestPresence(t *testing.T) {
	url := modes[0].server(t).URL()
	const many = 20_000
	big := &local{present: func(string) (keys []string) {
		for n := range many {
			keys = append(keys, fmt.Sprintf("%064d", n))
		}
		return keys
	}}
	small := &local{present: func(string) []string { return []string{"small"} }}
	bus, g := through(modes[0].bus(url))
	bus.Heartbeat = time.Hour // it stays known
	here := modes[0].bus(url)
	here.Timeout, here.Heartbeat = 3*time.Second, time.Hour
	start(t, here, &local{})
	start(t, bus, small)
	there := modes[0].bus(url)
	there.Heartbeat = time.Hour
	start(t, there, big)
	meet(t, here, bus, there)
	testutil.Eventually(t, "not all keys", func() bool {
		keys, err := here.Presence(context.Background(), "r")
		return err == nil && len(keys) == many+1 && slices.Contains(keys, "small")
	})
	g.stall()
	defer g.resume()
	testutil.Eventually(t, "not all keys", func() bool {
		keys, err := here.Presence(context.Background(), "r")
		if err == nil {
			t.Fatal("a process does not answer, and there is no error")
		}
		return errors.Is(err, hub.ErrLost) && len(keys) == many
	})
}

// A process that hangs is missing in Presence for as long as its connection is there.
func TestPresenceWithoutAProcessThatHangs(t *testing.T) {
	url := modes[0].server(t).URL()
	here := start(t, modes[0].bus(url), &local{})
	bus, g := through(modes[0].bus(url))
	bus.Timeout = time.Hour // it keeps its connection
	there := start(t, bus, &local{present: func(string) []string { return []string{"k"} }})
	meet(t, here, there)
	presence := func() ([]string, error) { return here.Presence(context.Background(), "r") }
	g.stall()
	testutil.Eventually(t, "the process is not silent", func() bool { return here.Stats().Nodes == 1 })
	for range 10 {
		if keys, err := presence(); !errors.Is(err, hub.ErrLost) || len(keys) > 0 {
			t.Fatalf("Presence: %v, %v", keys, err)
		}
	}
	g.resume()
	testutil.Eventually(t, "its keys do not come back", func() bool {
		keys, err := presence()
		return err == nil && slices.Equal(keys, []string{"k"})
	})
	g.stall()
	testutil.Eventually(t, "the process is not silent again", func() bool { return here.Stats().Nodes == 1 })
	g.close()
	g.resume()
	testutil.Eventually(t, "it is missed without a connection", func() bool {
		_, err := presence()
		return err == nil
	})
}

// A panic that a message of another process causes does not end the process.
func TestPanics(t *testing.T) {
	url := modes[0].server(t).URL()
	there := start(t, modes[0].bus(url), &local{
		send:    func(string, []byte) error { panic("send") },
		request: func(context.Context, string, []byte) ([]byte, error) { panic("request") },
		deliver: func(string, []byte) { panic("deliver") },
	})
	here := start(t, modes[0].bus(url), &local{})
	claim(t, there, "k", hub.RefuseSecond, never(t))
	there.Listen("r")
	_, request := here.Request(context.Background(), "k", nil)
	for what, err := range map[string]error{"Send": here.Send(context.Background(), "k", nil), "Request": request} {
		if err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("%s: %v", what, err)
		}
	}
	testutil.Eventually(t, "nothing is delivered", func() bool {
		here.Publish("r", nil)
		return there.Stats().In > 5
	})
}

// What other programs send to the subjects of a bus does not end the process.
func TestForeignMessages(t *testing.T) {
	url := modes[0].server(t).URL()
	here := start(t, modes[0].bus(url), &local{})
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("wireline.k.k", func(m *nats.Msg) { m.Respond([]byte{natsbus.VerdictAccepted, 1}) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = here.Request(context.Background(), "k", nil)
	wantErr(t, "an answer without a node", err, hub.ErrLost)
}

// What a slow process drops is counted and reported.
func TestDropsAreReported(t *testing.T) {
	url := modes[0].server(t).URL()
	var delivered, reported atomic.Int64
	there := modes[0].bus(url)
	there.MaxPending = 100_000
	hold := make(chan struct{})
	reporting := make(chan bool, 100)
	there.OnDrop = func(n int64) {
		reporting <- true
		<-hold
		reported.Add(n)
	}
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	ready := make(chan string, 100)
	start(t, there, &local{deliver: func(room string, payload []byte) {
		if string(payload) == "sync" {
			ready <- "sync"
			return
		}
		<-hold
		delivered.Add(1)
	}})
	here := start(t, modes[0].bus(url), &local{})
	there.Listen("r")
	listening(t, here, ready, "r", "sync")
	const all = 100_000
	for n := range all {
		if err := here.Publish("r", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, "nothing is dropped", func() bool { return there.Stats().Dropped > 0 })
	testutil.Await(t, "OnDrop is not called", reporting)
	trip := there.Stats().RoundTrip
	testutil.Eventually(t, "nothing ticks while OnDrop blocks", func() bool { return there.Stats().RoundTrip != trip })
	release()
	testutil.Eventually(t, "messages are neither delivered nor dropped", func() bool {
		return delivered.Load()+there.Stats().Dropped == all
	})
	testutil.Eventually(t, "not all drops are reported", func() bool { return reported.Load() == there.Stats().Dropped })
	if here.Stats().Dropped != 0 {
		t.Errorf("the sender has dropped %d", here.Stats().Dropped)
	}
}

// A server that takes nothing delays nobody who publishes.
func TestServerThatHangs(t *testing.T) {
	url := modes[0].server(t).URL()
	b, g := through(modes[0].bus(url))
	b.MaxPending = 1 << 20
	b.Timeout = 300 * time.Millisecond
	start(t, b, &local{})
	g.stall()
	begin := time.Now()
	var err error
	for range 10_000 {
		if err = b.Publish("r", make([]byte, 1000)); err != nil {
			break
		}
	}
	wantErr(t, "Publish", err, hub.ErrAway)
	if took := time.Since(begin); took > time.Second+testutil.Slack {
		t.Errorf("Publish has waited: %v", took)
	}
	testutil.Eventually(t, "the server does not count as away", func() bool { return !b.Stats().Connected })
	g.resume()
	testutil.Eventually(t, "it does not come back", func() bool { return b.Publish("r", nil) == nil })
}

func TestTooLongForTheServer(t *testing.T) {
	url := modes[0].server(t).URL()
	b := start(t, modes[0].bus(url), &local{})
	big := make([]byte, 2<<20)
	for what, err := range map[string]error{"Publish": b.Publish("r", big), "Send": b.Send(context.Background(), "k", big)} {
		if err == nil || errors.Is(err, hub.ErrAway) || errors.Is(err, hub.ErrLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	there := start(t, modes[0].bus(url), &local{request: func(context.Context, string, []byte) ([]byte, error) { return big, nil }})
	claim(t, there, "k", hub.RefuseSecond, never(t))
	if _, err := b.Request(context.Background(), "k", nil); err == nil {
		t.Error("an answer that is too long is no error")
	}
}

// A wrong prefix is no surprise at run time.
func TestPrefix(t *testing.T) {
	for _, prefix := range []string{"a b", "a..b", "*", ">", "a.", "ü"} {
		b := &natsbus.Bus{Prefix: prefix}
		if b.Start(&local{}) == nil {
			t.Errorf("prefix %q: no error", prefix)
		}
	}
}
