package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

// shortLease is a bus with JetStream whose lease ends soon.
func shortLease(url string) *natsbus.Bus {
	b := modes[1].bus(url)
	b.JetStream.Lease = 2 * time.Second
	return b
}

// openBucket returns the bucket of the buses.
func openBucket(t *testing.T, url string) jetstream.KeyValue {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(context.Background(), "wireline")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// entries counts the entries of keys that begin so.
func entries(t *testing.T, kv jetstream.KeyValue, prefix string) (n int) {
	t.Helper()
	keys, err := kv.Keys(context.Background())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Fatal(err)
	}
	for _, key := range keys {
		if strings.HasPrefix(key, "key."+prefix) {
			n++
		}
	}
	return n
}

// The entries of a process that was killed go away, with two that sweep at the same time; those of
// processes that are there stay.
func TestSweep(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	url := modes[1].server(t).URL()
	const keys = 12
	bus, g := through(shortLease(url))
	killed := start(t, bus, &local{})
	got, send := received()
	var there []*natsbus.Bus
	for i := range 2 {
		there = append(there, start(t, modes[1].bus(url), &local{send: send}))
		for n := range keys {
			claim(t, there[i], fmt.Sprint("there", i, "-", n), hub.RefuseSecond, never(t))
			claim(t, killed, fmt.Sprint("killed", i, "-", n), hub.RefuseSecond, never(t))
		}
	}
	kv := openBucket(t, url)
	testutil.Eventually(t, "there are not all entries", func() bool { return entries(t, kv, "killed") == 2*keys })
	g.close()
	testutil.Eventually(t, "the entries stay", func() bool { return entries(t, kv, "killed") == 0 })
	if n := entries(t, kv, "there"); n != 2*keys {
		t.Errorf("%d entries of processes that are there, want %d", n, 2*keys)
	}
	for n := range keys {
		if err := there[0].Send(context.Background(), fmt.Sprint("there1-", n), nil); err != nil {
			t.Fatal(err)
		}
		testutil.Await(t, "no message", got)
	}
}

// A process that was only late has its keys again, though its entries were removed.
func TestSweepOfALateProcess(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	url := modes[1].server(t).URL()
	bus, g := through(shortLease(url))
	bus.Heartbeat = time.Hour // it does not find out that the server does not answer
	got, send := received()
	late := start(t, bus, &local{send: send})
	here := start(t, modes[1].bus(url), &local{})
	const keys = 12
	for n := range keys {
		claim(t, late, fmt.Sprint(n), hub.KickFirst, never(t))
	}
	kv := openBucket(t, url)
	g.stall()
	testutil.Eventually(t, "the entries stay", func() bool { return entries(t, kv, "") == 0 })
	g.resume()
	for n := range keys {
		key := fmt.Sprint(n)
		testutil.Eventually(t, "the key has no owner", func() bool { return here.Send(context.Background(), key, nil) == nil })
		testutil.Await(t, "no message", got)
		_, err := here.Claim(context.Background(), key, hub.RefuseSecond, never(t))
		wantErr(t, "Claim", err, hub.ErrTaken)
	}
	testutil.Eventually(t, "there are not all entries", func() bool { return entries(t, kv, "") == keys })
}

// A process that finds its entry marked writes it again: a sweep that has read the mark before fails.
func TestMarkedEntry(t *testing.T) {
	url := modes[1].server(t).URL()
	bus, g := through(modes[1].bus(url))
	b := start(t, bus, &local{})
	claim(t, b, "k", hub.RefuseSecond, never(t))
	kv, ctx := openBucket(t, url), context.Background()
	e, err := kv.Get(ctx, "key.k")
	if err != nil {
		t.Fatal(err)
	}
	marked, err := kv.Update(ctx, "key.k", append(e.Value(), 1), e.Revision())
	if err != nil {
		t.Fatal(err)
	}
	g.close()
	testutil.Eventually(t, "it is not away", func() bool { return !b.Stats().Connected })
	g.open()
	testutil.Eventually(t, "the entry stays marked", func() bool {
		now, err := kv.Get(ctx, "key.k")
		return err == nil && now.Revision() > marked && string(now.Value()) == string(e.Value())
	})
	if err := kv.Purge(ctx, "key.k", jetstream.LastRevision(marked)); err == nil {
		t.Error("the entry was removed")
	}
}
