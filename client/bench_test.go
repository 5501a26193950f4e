package client_test

import (
	"strconv"
	"testing"

	"go.uber.org/atomic"

	"wireline/client"
	"wireline/handler"
	"wireline/tcptest"
)

// BenchmarkRequest measures requests over the loopback interface, one after the other and many at the
// same time. The server is in the same process.
func BenchmarkRequest(b *testing.B) {
	s := tcptest.NewServer(&handler.Frames{OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) }})
	defer s.Close()
	d := &client.Dialer{ID: idOf, Log: quiet}
	defer d.Close()
	c, err := d.Dial(b.Context(), "tcp", s.Addr)
	if err != nil {
		b.Fatal(err)
	}
	var last atomic.Int64
	request := func(b *testing.B) {
		line := strconv.AppendInt(nil, last.Inc(), 10)
		if _, err := c.Request(b.Context(), append(line, " echo"...)); err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			request(b)
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request(b)
			}
		})
	})
}
