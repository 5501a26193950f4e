package natsbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		runChild(child)
		return
	}
	goleak.VerifyTestMain(m)
}

// startServer starts a NATS server, which ends with the test.
func startServer(t testing.TB, e *natsbus.Embedded) *natsbus.Embedded {
	t.Helper()
	if e.Listen == "" {
		e.Listen = "127.0.0.1:0"
	}
	e.Log = slog.New(slog.DiscardHandler)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// local is a hub of which a bus sees what the test wants.
type local struct {
	send    func(key string, payload []byte) error
	request func(ctx context.Context, key string, payload []byte) ([]byte, error)
	present func(room string) []string
	deliver func(room string, payload []byte)
}

func (l *local) Deliver(room string, payload []byte) {
	if l.deliver != nil {
		l.deliver(room, bytes.Clone(payload))
	}
}

func (l *local) SendLocal(key string, payload []byte) error {
	if l.send == nil {
		return hub.ErrUnknown
	}
	return l.send(key, bytes.Clone(payload))
}

func (l *local) RequestLocal(ctx context.Context, key string, payload []byte) ([]byte, error) {
	return l.request(ctx, key, bytes.Clone(payload))
}

func (l *local) KickLocal(key, why string) error {
	return l.SendLocal(key, []byte("kick: "+why))
}

func (l *local) Present(room string) []string {
	if l.present == nil {
		return nil
	}
	return l.present(room)
}

// mode is how buses are set up for a test.
type mode struct {
	name      string
	jetStream bool
}

var modes = []mode{{"core", false}, {"JetStream", true}}

// inBothModes runs a test with and without JetStream.
func inBothModes(t *testing.T, test func(t *testing.T, m mode)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { test(t, m) })
	}
}

// server starts a server for the mode.
func (m mode) server(t testing.TB) *natsbus.Embedded {
	e := &natsbus.Embedded{}
	if m.jetStream {
		e.StoreDir = t.TempDir()
	}
	return startServer(t, e)
}

// bus returns a bus that is not started.
func (m mode) bus(url string) *natsbus.Bus {
	b := &natsbus.Bus{
		URL:       url,
		Heartbeat: 100 * time.Millisecond,
		Timeout:   5 * time.Second,
		Log:       slog.New(slog.DiscardHandler),
	}
	if m.jetStream {
		b.JetStream = &natsbus.JetStream{Lease: 20 * time.Second}
	}
	return b
}

// start starts a bus, which ends with the test.
func start(t testing.TB, b *natsbus.Bus, l *local) *natsbus.Bus {
	t.Helper()
	if err := b.Start(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// claim claims a key. It tries again while the bus is away, as one is without its first lease.
func claim(t testing.TB, b *natsbus.Bus, key string, second hub.Second, lost func()) (c hub.Claim) {
	t.Helper()
	testutil.Eventually(t, "the bus is away", func() (ok bool) {
		var err error
		c, err = b.Claim(context.Background(), key, second, lost)
		if err != nil && !errors.Is(err, hub.ErrAway) {
			t.Fatalf("Claim of %q: %v", key, err)
		}
		return err == nil
	})
	return c
}

// never is a function lost that must not be called.
func never(t testing.TB) func() {
	return func() { t.Error("the claim was lost") }
}

// meet waits until the buses know of each other.
func meet(t testing.TB, all ...*natsbus.Bus) {
	t.Helper()
	for _, b := range all {
		testutil.Eventually(t, "the processes do not know of each other", func() bool { return b.Stats().Nodes == len(all) })
	}
}

// wantErr fails the test if err is not want.
func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// received returns a function for local.send that keeps what it gets.
func received() (got chan string, send func(string, []byte) error) {
	got = make(chan string, 1000)
	return got, func(key string, payload []byte) error {
		got <- fmt.Sprintf("%s=%s", key, payload)
		return nil
	}
}
