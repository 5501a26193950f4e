package handler_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// counting counts how often it encodes.
type counting struct {
	frame.Line
	encoded *int
}

func (c counting) Append(dst, payload []byte) ([]byte, error) {
	*c.encoded++
	return c.Line.Append(dst, payload)
}

// three returns a server with codec, its three clients, and their peers.
func three(t *testing.T, codec frame.Codec) (all []*handler.Client, peers []net.Conn) {
	h := &handler.Frames{Codec: codec}
	opened := opens(h)
	server := tcptest.NewServer(h)
	t.Cleanup(server.Close)
	for range 3 {
		conn := server.Dial()
		t.Cleanup(func() { conn.Close() })
		all, peers = append(all, <-opened), append(peers, conn)
	}
	return all, peers
}

func TestMessageIsEncodedOnce(t *testing.T) {
	encoded := 0
	for name, codec := range map[string]frame.Codec{"quick": frame.Line{}, "another": counting{encoded: &encoded}} {
		t.Run(name, func(t *testing.T) {
			all, peers := three(t, codec)
			m := handler.Message{Payload: []byte("to all")}
			for range 2 {
				for _, c := range all {
					if err := c.Offer(&m); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, conn := range peers {
				receive(t, conn, "to all\nto all\n")
			}
		})
	}
	if encoded != 1 {
		t.Errorf("encoded %d times for three clients", encoded)
	}
}

func TestOfferToOneClientAllocatesNothing(t *testing.T) {
	switch {
	case testutil.RaceEnabled:
		t.Skip("the race detector drops a part of what is put into a sync.Pool")
	case runtime.GOOS != "linux":
		t.Skip("without epoll, a write that must not wait has an allocation")
	}
	all, peers := three(t, frame.Line{})
	got, payload := make([]byte, len("to one\n")), []byte("to one")
	n := testing.AllocsPerRun(1000, func() {
		m := handler.Message{Payload: payload}
		if err := all[0].Offer(&m); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peers[0], got); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}
