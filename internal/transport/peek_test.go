//go:build unix

package transport_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/internal/transport"
)

// idle returns the client's end of a TLS connection that is on no poller, and its server.
func idle(t *testing.T, config *tls.Config) (*transport.TLS, *tls.Conn) {
	t.Helper()
	near, far := testutil.Pair(t)
	config.InsecureSkipVerify = true
	client := transport.Client(near, config)
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}})
	far.SetDeadline(time.Now().Add(testutil.Patience))
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Conn().Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// tickets counts the session tickets that a client has received.
type tickets struct{ count int }

func (c *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *tickets) Put(string, *tls.ClientSessionState)        { c.count++ }

// What a server of TLS 1.3 sends after the handshake is no plaintext. A greeting is, and waits
// for whoever reads the connection.
func TestPeek(t *testing.T) {
	cache := &tickets{}
	client, server := idle(t, &tls.Config{ClientSessionCache: cache})
	testutil.Eventually(t, "the ticket", func() bool {
		if unread, err := client.Peek(); unread || err != nil {
			t.Fatalf("%v, %v, want an idle connection", unread, err)
		}
		return cache.count > 0
	})
	io.WriteString(server, "220 ready\r\n")
	testutil.Eventually(t, "the greeting", func() bool {
		unread, err := client.Peek()
		return unread && err == nil
	})
	io.WriteString(server, "more\r\n")
	if unread, err := client.Peek(); !unread || err != nil {
		t.Errorf("again: %v, %v", unread, err)
	}
	if got := readOn(t, client, len("220 ready\r\nmore\r\n")); got != "220 ready\r\nmore\r\n" {
		t.Errorf("read %q", got)
	}
}

// readOn reads n bytes on a poller.
func readOn(t *testing.T, client *transport.TLS, n int) string {
	t.Helper()
	r := &reader{got: make(chan string, 1), want: n}
	conn := eventloop.NewPortable(client.Base(), r, nil)
	r.tls = client
	client.Use(conn, nil)
	conn.Start()
	select {
	case got := <-r.got:
		return got
	case <-time.After(testutil.Patience):
		t.Fatal("nothing is read")
		return ""
	}
}

// reader is an eventloop.Handler that reads want bytes.
type reader struct {
	tls  *transport.TLS
	text string
	want int
	got  chan string
}

func (r *reader) Ready(*eventloop.Worker, eventloop.Event) (more bool) {
	b := make([]byte, 3)
	for {
		n, drained, err := r.tls.Read(b)
		r.text += string(b[:n])
		if len(r.text) >= r.want || err != nil {
			r.tls.Close()
			r.got <- r.text
			return false
		}
		if drained {
			return false
		}
	}
}

func (r *reader) Writable() {}
func (r *reader) Slow()     {}
func (r *reader) Expired()  {}

// A connection that has ended, or on which a record has begun, is not idle.
func TestPeekOfWhatHasEnded(t *testing.T) {
	for _, test := range []struct {
		name   string
		do     func(server *tls.Conn)
		unread bool
		isEnd  func(error) bool
	}{
		{"close_notify", func(s *tls.Conn) { s.CloseWrite() }, false, func(err error) bool { return err == io.EOF }},
		{"FIN", func(s *tls.Conn) { s.NetConn().Close() }, false, func(err error) bool { return err == transport.ErrTruncated }},
		{"RST", func(s *tls.Conn) { netconn.Reset(s) }, false, netconn.IsReset},
		{"alert", func(s *tls.Conn) { s.NetConn().Write([]byte{21, 3, 3, 0, 2, 2, 40}) }, false, isAlert},
		{"part of a record", func(s *tls.Conn) { s.NetConn().Write([]byte{23, 3, 3}) }, true, nil},
		{"garbage", func(s *tls.Conn) { s.NetConn().Write(make([]byte, 10)) }, false, isAlert},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := idle(t, &tls.Config{})
			test.do(server)
			testutil.Eventually(t, test.name, func() bool {
				unread, err := client.Peek()
				return unread == test.unread && (test.isEnd == nil && err == nil || test.isEnd != nil && test.isEnd(err))
			})
			client.Conn().Close() // it does not wait
		})
	}
}

// isAlert reports an error of the protocol.
func isAlert(err error) bool { return err != nil && err != io.EOF && !netconn.IsReset(err) }

func TestPeekInMemory(t *testing.T) {
	a, _ := net.Pipe()
	if _, err := transport.Client(a, &tls.Config{InsecureSkipVerify: true}).Peek(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
