//go:build unix

package proxy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	tlstransport "wireline/internal/transport"
	"wireline/proxy"
)

// The ends of a stream that TLS tells apart, beside those of TestTruth.
const (
	notify  event = "close_notify"       // and a FIN
	bareFIN event = "FIN alone"          // a stream that was cut off, for all that anybody knows
	bad     event = "a damaged record"   // which the proxy answers with an alert
	noticed event = "close_notify alone" // without a FIN
)

// peer is an end of a pair, with or without TLS.
type peer struct {
	net.Conn
	tls *tlstransport.TLS // nil without
}

func newPeer(conn net.Conn) peer {
	c, _ := conn.(*tls.Conn)
	return peer{conn, tlstransport.Of(c)}
}

// do ends the stream in some way.
func (p peer) do(t *testing.T, e event) {
	t.Helper()
	var err error
	switch e {
	case fin:
		err = netconn.CloseWrite(p.Conn)
	case noticed:
		err = p.tls.Conn().CloseWrite()
	case notify:
		err = errors.Join(p.tls.Conn().CloseWrite(), netconn.CloseWrite(p.tls.Base()))
	case bareFIN:
		err = netconn.CloseWrite(p.tls.Base())
	case rst:
		err = netconn.Reset(p.Conn)
	case bad:
		_, err = p.tls.Base().Write([]byte("\x17\x03\x03\x00\x20damaged damaged damaged damaged "))
	}
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
}

// sees waits for the end of the stream, and tells what it is.
func (p peer) sees(t *testing.T) event {
	t.Helper()
	var err error
	if p.tls == nil {
		_, err = p.Read(make([]byte, 1))
		if err == io.EOF {
			return fin
		}
	} else {
		testutil.Eventually(t, "the end", func() bool {
			var unread bool
			if unread, err = p.tls.Peek(); unread {
				t.Fatal("there is something to read")
			}
			return err != nil
		})
	}
	switch {
	case err == io.EOF:
		return notify
	case err == tlstransport.ErrTruncated:
		return bareFIN
	case isReset(err):
		return rst
	}
	return event(err.Error())
}

// arrivesAs is what the end of one side is on the other.
func arrivesAs(e event, to peer) event {
	switch {
	case e == rst || e == bad:
		return rst
	case to.tls == nil:
		return fin
	case e == bareFIN:
		return bareFIN
	}
	return notify
}

// TestTruthUnderTLS: each end of a stream arrives on the other side as what it is there,
// whichever side ends first.
func TestTruthUnderTLS(t *testing.T) {
	t.Parallel()
	var ways []transport
	for _, tr := range transports {
		switch tr.name {
		case "TLS", "TLS by goroutine", "tcp to TLS", "TLS to TLS", "tcp to TLS, by goroutine", "TLS to TLS, by goroutine":
			tr.listen = peekable(tr.listen)
			ways = append(ways, tr)
		}
	}
	for _, tr := range ways {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := tr.serve(t, proxy.Config{IdleTimeout: time.Hour})
			for _, order := range []string{"client first", "upstream first"} {
				for _, one := range endsOf(s, order == "client first") {
					for _, two := range endsOf(s, order != "client first") {
						t.Run(fmt.Sprintf("%s: %s, then %s", order, one, two), func(t *testing.T) {
							client, upstream := s.pair()
							ends := []peer{newPeer(client), newPeer(upstream)}
							by := []handler.Party{handler.ByClient, handler.ByUpstream}
							if order == "upstream first" {
								ends[0], ends[1], by[0], by[1] = ends[1], ends[0], by[1], by[0]
							}
							s.play(t, ends, by, one, two)
						})
					}
				}
			}
		})
	}
}

// peekable gives the clients of a listener that speaks TLS a transport.TLS.
func peekable(listen func(*testing.T) (net.Listener, func() (net.Conn, error))) func(*testing.T) (net.Listener, func() (net.Conn, error)) {
	return func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
		ln, dial := listen(t)
		return ln, func() (net.Conn, error) {
			conn, err := dial()
			if c, ok := conn.(*tls.Conn); ok {
				conn = tlstransport.Client(c.NetConn(), &tls.Config{InsecureSkipVerify: true}).Conn()
			}
			return conn, err
		}
	}
}

// endsOf lists how a side can end.
func endsOf(s *served, client bool) []event {
	secure := s.proxy.Config.TLS.Enable
	if client {
		secure = s.server.TCP.TLSConfig != nil
	}
	if !secure {
		return []event{fin, rst}
	}
	return []event{notify, noticed, bareFIN, rst, bad}
}

// play has the first peer end its stream, and then the other, which sends something before.
func (s *served) play(t *testing.T, ends []peer, by []handler.Party, one, two event) {
	t.Helper()
	a, b := ends[0], ends[1]
	send(t, a, "last")
	receive(t, b, "last")
	a.do(t, one)
	want := arrivesAs(one, b)
	if got := b.sees(t); got != want {
		t.Fatalf("after %s the other side sees %s, want %s", one, got, want)
	}
	who, why := by[0], handler.ReasonFIN
	if want != rst {
		send(t, b, "late")
		receive(t, a, "late")
		b.do(t, two)
		want = arrivesAs(two, a)
		if got := a.sees(t); got != want {
			t.Errorf("after %s the first side sees %s, want %s", two, got, want)
		}
		one = two
		if want == rst {
			who = by[1]
		}
	}
	switch {
	case one == rst:
		why = handler.ReasonReset
	case one == bad:
		why = handler.ReasonIOError
	}
	if r := s.records.Next(t); r.By != who || r.Reason != why {
		t.Errorf("record: by %s, %s (%v); want by %s, %s", r.By, r.Reason, r.Err, who, why)
	}
}
