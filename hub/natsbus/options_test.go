package natsbus_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

// A bus has the options of a connection of the program: its user, its servers, and its functions,
// which are called for both connections. Each has its own end.
func TestOptionsOf(t *testing.T) {
	address := freeAddress(t)
	e := startServer(t, &natsbus.Embedded{Listen: address, Configure: func(opts *server.Options) {
		opts.Username, opts.Password = "user", "secret"
	}})
	var mine atomic.Pointer[nats.Conn]
	events := make(chan string, 100) // of the other connection
	note := func(event string) nats.ConnHandler {
		return func(nc *nats.Conn) {
			if mine.Load() != nil && nc != mine.Load() {
				events <- event
			}
		}
	}
	nc, err := nats.Connect(e.URL(),
		nats.UserInfo("user", "secret"), nats.ConnectHandler(note("connected")), nats.DisconnectHandler(note("disconnected")),
		nats.ReconnectHandler(note("reconnected")), nats.ClosedHandler(note("closed")),
		nats.ReconnectErrHandler(func(nc *nats.Conn, _ error) { note("not reconnected")(nc) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	mine.Store(nc)
	b := modes[0].bus("nats://127.0.0.1:1") // the servers of the connection are used
	b.Options = []nats.Option{natsbus.OptionsOf(nc)}
	start(t, b, &local{})
	next := func(want string) {
		t.Helper()
		testutil.Eventually(t, "no event "+want, func() bool { return testutil.Await(t, "no event", events) == want })
	}
	next("connected")
	claim(t, b, "k", hub.RefuseSecond, never(t)) // nobody gets an echo of it
	e.Close()
	next("disconnected")
	next("not reconnected")
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	next("reconnected")
	testutil.Eventually(t, "the bus is away", func() bool { return b.Publish("r", nil) == nil })
	b.Close()
	next("closed")
	if nc.IsClosed() {
		t.Error("Close has closed the connection of the program")
	}
	b = modes[0].bus("")
	b.Options = []nats.Option{natsbus.OptionsOf(nc)}
	start(t, b, &local{})
	nc.Close()
	if _, err := b.Has(context.Background(), "k"); err != nil {
		t.Errorf("after the end of the program's connection: %v", err)
	}
}
