package handler

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/atomic"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
)

// wire carries bytes one way, without a bound.
type wire struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	written sync.Cond
}

func newWire() *wire {
	w := new(wire)
	w.written.L = &w.mu
	return w
}

func (w *wire) write(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buffer.Write(p)
	w.written.Broadcast()
}

// take reads what is there, and waits for that if wait is set.
func (w *wire) take(p []byte, wait bool) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wait && w.buffer.Len() == 0 {
		w.written.Wait()
	}
	n, _ = w.buffer.Read(p)
	return n
}

func (w *wire) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buffer.Len()
}

// wired is a script whose socket is two wires.
type wired struct {
	*script
	toServer, toClient *wire
}

func (w *wired) Write(parts [3][]byte) (n int, err error) {
	for _, p := range parts {
		w.toClient.write(p)
		n += len(p)
	}
	return n, nil
}

func (w *wired) readNow(p []byte) (n int, drained bool, err error) {
	n = w.toServer.take(p, false)
	return n, n == 0, nil
}

// wiredClient is the client's end.
type wiredClient struct {
	net.Conn
	*wired
}

func (w wiredClient) Read(p []byte) (int, error) { return w.toClient.take(p, true), nil }

func (w wiredClient) Write(p []byte) (int, error) {
	w.toServer.write(p)
	return len(p), nil
}

// After the process was stopped for longer than the timeout of a handshake, the client's bytes,
// which wait in the socket, are read before the timeout ends the client. That is done once.
func TestStartTLSLooksOnceMore(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
	for _, test := range []struct {
		name             string
		hello, completes bool // what the client sends
	}{
		{"in time", true, true}, {"silent", false, false}, {"silent after its hello", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &Frames{OnRecord: func(Record) {}, HandshakeTimeout: time.Second, OnFrame: func(c *Client, _ []byte) error {
				return c.StartTLS(config)
			}}
			clock := atomic.NewInt64(1)
			s := &wired{script: &script{now: clock.Load}, toServer: newWire(), toClient: newWire()}
			s.read, s.look = s.readNow, s.readNow
			c := newScripted(h, s.script)
			c.conn = s
			ready := func(ev eventloop.Event) { (*pollerHandler)(c).Ready(new(eventloop.Worker), ev) }
			s.toServer.write([]byte("STARTTLS\n"))
			ready(eventloop.In)
			ready(0) // the handshake has begun
			client := tls.Client(wiredClient{wired: s}, &tls.Config{InsecureSkipVerify: true})
			done := make(chan error, 1)
			if test.completes {
				go func() { done <- client.Handshake() }()
				testutil.Eventually(t, "the hello is sent", func() bool { return s.toServer.size() > 0 })
			} else if test.hello {
				s.toServer.write([]byte{22, 3, 1, 1, 0, 1})
			}
			clock.Add(int64(time.Second + eventloop.LateTimer + 1))
			ready(eventloop.Woken)
			if c.ended() == test.hello {
				t.Fatalf("ended: %v", c.ended())
			}
			if test.completes {
				if !testutil.Soon(testutil.Patience, func() bool { ready(eventloop.In); return c.TLS() != nil }) {
					t.Fatal("there is no TLS")
				}
				if err := testutil.Await(t, "the handshake", done); err != nil {
					t.Error(err)
				}
				return
			}
			s.toServer.write([]byte{1})
			clock.Add(int64(time.Second) + 1)
			ready(eventloop.Woken)
			if r := c.Record(); r.Reason != ReasonTLS {
				t.Errorf("record %+v", r)
			}
			testutil.Eventually(t, "the client is closed", func() bool { ready(eventloop.Woken); return c.phase == phaseClosed })
		})
	}
}
