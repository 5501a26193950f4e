package natsbus_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/hub"
)

// BenchmarkPublish publishes messages of 64 bytes to a room of another bus, and beside it to a
// subject by nats.go alone. At most 10,000 are under way.
func BenchmarkPublish(b *testing.B) {
	url := modes[0].server(b).URL()
	payload := make([]byte, 64)
	flood := func(b *testing.B, publish func() error, arrived *atomic.Int64) {
		start := arrived.Load()
		for n := range int64(b.N) {
			for n-(arrived.Load()-start) > 10_000 {
				time.Sleep(10 * time.Microsecond)
			}
			if err := publish(); err != nil {
				b.Fatal(err)
			}
		}
		for arrived.Load()-start < int64(b.N) {
			time.Sleep(10 * time.Microsecond)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	}
	b.Run("natsbus", func(b *testing.B) {
		var arrived atomic.Int64
		there := start(b, modes[0].bus(url), &local{deliver: func(string, []byte) { arrived.Add(1) }})
		here := start(b, modes[0].bus(url), &local{})
		there.Listen("r")
		for arrived.Load() == 0 {
			here.Publish("r", nil)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // more of the same may arrive
		b.ResetTimer()
		flood(b, func() error { return here.Publish("r", payload) }, &arrived)
	})
	b.Run("nats.go", func(b *testing.B) {
		var arrived atomic.Int64
		here, there := dialNATS(b, url), dialNATS(b, url)
		there.Subscribe("bare", func(*nats.Msg) { arrived.Add(1) })
		there.Flush()
		b.ResetTimer()
		flood(b, func() error { return here.Publish("bare", payload) }, &arrived)
	})
}

// BenchmarkSend sends messages of 64 bytes to a key of another bus, one after the other, and beside
// it requests by nats.go alone.
func BenchmarkSend(b *testing.B) {
	for _, m := range modes {
		b.Run("natsbus, "+m.name, func(b *testing.B) {
			url := m.server(b).URL()
			there := start(b, m.bus(url), &local{send: func(string, []byte) error { return nil }})
			here := start(b, m.bus(url), &local{})
			claim(b, there, "k", hub.RefuseSecond, func() {})
			latency(b, func(payload []byte) error { return here.Send(context.Background(), "k", payload) })
		})
	}
	b.Run("nats.go", func(b *testing.B) {
		url := modes[0].server(b).URL()
		here, there := dialNATS(b, url), dialNATS(b, url)
		there.Subscribe("bare", func(m *nats.Msg) { m.Respond(nil) })
		there.Flush()
		latency(b, func(payload []byte) error {
			_, err := here.Request("bare", payload, 10*time.Second)
			return err
		})
	})
}

// latency reports the 99th percentile of the durations of send.
func latency(b *testing.B, send func([]byte) error) {
	payload := make([]byte, 64)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		if err := send(payload); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

func dialNATS(b *testing.B, url string) *nats.Conn {
	b.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	return nc
}
