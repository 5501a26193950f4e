package handler_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/internal/transport"
	"wireline/tcp"
	"wireline/tcptest"
)

// tlsTransports are the ways to hold a connection under TLS. Their dial makes no handshake.
var tlsTransports = []struct {
	name   string
	listen func(t *testing.T, sendBuffer int) (net.Listener, func() net.Conn)
}{
	{"TLS", listenSending},
	{"TLS by goroutine", func(t *testing.T, sendBuffer int) (net.Listener, func() net.Conn) {
		ln, dial := listenSending(t, sendBuffer)
		return testutil.PlainListener{Listener: ln}, dial
	}},
	{"TLS, wrapped", func(t *testing.T, sendBuffer int) (net.Listener, func() net.Conn) {
		ln, dial := listenSending(t, sendBuffer)
		return testutil.WrappingListener{Listener: ln}, dial
	}},
	{"TLS in memory", func(t *testing.T, _ int) (net.Listener, func() net.Conn) {
		ln := tcptest.Listen()
		return ln, func() net.Conn {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
	}},
}

// listenSending listens for connections with a send buffer of that size; zero for the system's.
func listenSending(t *testing.T, sendBuffer int) (net.Listener, func() net.Conn) {
	ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Socket: tcp.Socket{SendBuffer: sendBuffer}})
	if err != nil {
		t.Fatal(err)
	}
	return ln, func() net.Conn {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// overTLS is overTransports for those with TLS. The connections of s have made no handshake.
func overTLS(t *testing.T, build func() *handler.Frames, test func(t *testing.T, s *served)) {
	overTLSWith(t, false, 0, build, test)
}

// overTLSAtOnce is overTLS for tests that wait most of the time: their runs are parallel.
func overTLSAtOnce(t *testing.T, build func() *handler.Frames, test func(t *testing.T, s *served)) {
	overTLSWith(t, true, 0, build, test)
}

func overTLSWith(t *testing.T, parallel bool, sendBuffer int, build func() *handler.Frames, test func(t *testing.T, s *served)) {
	for _, transport := range tlsTransports {
		if testutil.Reduced() && skipped(transport.name) {
			continue
		}
		t.Run(transport.name, func(t *testing.T) {
			if parallel {
				t.Parallel()
			}
			h := build()
			s := &served{t: t, frames: h, records: newRecords()}
			h.OnRecord = s.records.Add
			ln, dial := transport.listen(t, sendBuffer)
			s.dial = dial
			s.server = tcptest.NewUnstartedServer(h)
			s.server.TCP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
			s.server.Serve(ln)
			t.Cleanup(s.server.Close)
			test(t, s)
		})
	}
}

// connectTLS connects with a handshake.
func (s *served) connectTLS() secured {
	s.t.Helper()
	conn := tlsClient(s.t, s.connect()).(secured)
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// connectByHand connects a client that makes its records itself.
func (s *served) connectByHand() *testutil.RecordClient {
	s.t.Helper()
	return testutil.HandshakeByHand(s.t, s.connect())
}

// sendRecords sends text in one record.
func sendRecord(t *testing.T, c *testutil.RecordClient, text string) {
	t.Helper()
	send(t, c.Conn, string(c.Out.Seal(testutil.DataRecord, []byte(text))))
}

// closesWith waits for the server's close_notify, or another alert, and its FIN.
func closesWith(t *testing.T, c *testutil.RecordClient, alert byte) {
	t.Helper()
	kind, data, err := c.In.Open(c.Conn)
	if err != nil || kind != testutil.AlertRecord || data[1] != alert {
		t.Fatalf("received a record of type %d with %x, %v; want the alert %d", kind, data, err, alert)
	}
	if b, err := io.ReadAll(c.Conn); len(b) > 0 || err != nil {
		t.Errorf("received %x after the alert, %v; want a FIN", b, err)
	}
}

// The alerts that the tests meet (RFC 8446, 6).
const (
	alertCloseNotify  = 0
	alertUnexpected   = 10
	alertBadRecordMAC = 20
)

// A frame begins with the first byte of its record, and bytes of the record do not extend its
// timeout.
func TestTLSFrameTimeout(t *testing.T) {
	t.Parallel()
	build := func() *handler.Frames {
		h := echoFrames()
		h.FrameTimeout = limit
		h.OnError = func(c *handler.Client, err error) { io.WriteString(c, "too slow\n") }
		return h
	}
	for _, trickle := range []bool{false, true} {
		overTLSAtOnce(t, build, func(t *testing.T, s *served) {
			conn := s.connectByHand()
			sendRecord(t, conn, "hello\n")
			conn.Receive(t, "hello\n")
			begin := time.Now()
			record := conn.Out.Seal(testutil.DataRecord, make([]byte, 5000))
			send(t, conn.Conn, string(record[:100]))
			if trickle {
				go func() {
					for i := range record[100:] {
						if _, err := conn.Conn.Write(record[100+i:][:1]); err != nil {
							return
						}
						time.Sleep(limit / 20)
					}
				}()
			}
			conn.Receive(t, "too slow\n")
			within(t, "ended", time.Since(begin), limit, limit+slack)
			if kind, data, err := conn.In.Open(conn.Conn); err != nil || kind != testutil.AlertRecord || data[1] != alertCloseNotify {
				t.Errorf("received a record of type %d, %v; want a close_notify", kind, err)
			}
			conn.Close()
			if r := s.records.Next(t); r.Reason != handler.ReasonFrameTimeout || r.FramesIn != 1 {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// The same if the handshake has read the part of a record that came with the client's Finished.
func TestTLSFrameTimeoutAfterHandshake(t *testing.T) {
	t.Parallel()
	build := func() *handler.Frames {
		h := echoFrames()
		h.FrameTimeout = limit
		return h
	}
	overTLSAtOnce(t, build, func(t *testing.T, s *served) {
		begin := time.Now()
		held := &held{Conn: s.connect()}
		client := tls.Client(held, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		// A record of 256 bytes begins.
		send(t, held.Conn, string(append(held.kept, testutil.DataRecord, 3, 3, 1, 0, 'x')))
		if _, err := io.Copy(io.Discard, client); err != nil {
			t.Error(err)
		}
		within(t, "ended", time.Since(begin), limit, limit+slack)
		if r := s.records.Next(t); r.Reason != handler.ReasonFrameTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// held is a client's connection that keeps what is written after the first read.
type held struct {
	net.Conn
	read bool
	kept []byte
}

func (h *held) Read(p []byte) (int, error) {
	h.read = true
	return h.Conn.Read(p)
}

func (h *held) Write(p []byte) (int, error) {
	if !h.read {
		return h.Conn.Write(p)
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}

// Bytes of a record show that the client lives. When they stop, it is idle.
func TestTLSIdleTimeout(t *testing.T) {
	t.Parallel()
	build := func() *handler.Frames {
		h := echoFrames()
		h.IdleTimeout = limit
		return h
	}
	overTLSAtOnce(t, build, func(t *testing.T, s *served) {
		punctually(t, "a client", func() error {
			begin := time.Now()
			conn := s.connectByHand()
			defer conn.Close()
			line := string(conn.Out.Seal(testutil.DataRecord, []byte("hello\n")))
			lost := string(conn.Out.Seal(testutil.DataRecord, []byte("lost\n")))
			pieces := append(strings.Split(line[:6], ""), line[6:], lost[:10])
			last, err := exchangeSlowly(begin, len(pieces), func() error {
				piece := pieces[0]
				pieces = pieces[1:]
				return echoes(conn.Conn, piece, "")
			})
			if err != nil {
				s.records.Next(t)
				return err
			}
			conn.Receive(t, "hello\n")
			closesWith(t, conn, alertCloseNotify)
			within(t, "ended", time.Since(last), limit-time.Millisecond, limit+slack)
			conn.Close()
			if r := s.records.Next(t); r.Reason != handler.ReasonIdleTimeout || r.FramesIn != 1 {
				t.Errorf("record %+v", r)
			}
			return nil
		})
	})
}

// Without a close_notify anybody could have cut off the last line.
func TestTLSLastLine(t *testing.T) {
	for _, test := range []struct {
		name string
		send func(t *testing.T, conn *testutil.RecordClient)

		frames int64
		reply  string
		reason handler.Reason
	}{
		{"close_notify", func(t *testing.T, conn *testutil.RecordClient) {
			sendRecord(t, conn, "one\nlast")
			send(t, conn.Conn, string(conn.Out.Seal(testutil.AlertRecord, []byte{1, alertCloseNotify})))
		}, 2, "one\nlast", handler.ReasonFIN},
		{"close_notify and FIN", func(t *testing.T, conn *testutil.RecordClient) {
			send(t, conn.Conn, string(conn.Out.Seal(testutil.DataRecord, []byte("one\nlast")))+
				string(conn.Out.Seal(testutil.AlertRecord, []byte{1, alertCloseNotify})))
			closeWrite(t, conn.Conn)
		}, 2, "one\nlast", handler.ReasonFIN},
		{"FIN", func(t *testing.T, conn *testutil.RecordClient) {
			sendRecord(t, conn, "one\nlast")
			closeWrite(t, conn.Conn)
		}, 1, "one\n", handler.ReasonIOError},
		{"FIN after whole lines", func(t *testing.T, conn *testutil.RecordClient) {
			sendRecord(t, conn, "one\n")
			closeWrite(t, conn.Conn)
		}, 1, "one\n", handler.ReasonFIN},
	} {
		t.Run(test.name, func(t *testing.T) {
			overTLS(t, echoFrames, func(t *testing.T, s *served) {
				conn := s.connectByHand()
				test.send(t, conn)
				conn.Receive(t, test.reply)
				closesWith(t, conn, alertCloseNotify)
				r := s.records.Next(t)
				if r.FramesIn != test.frames || r.By != handler.ByClient || r.Reason != test.reason {
					t.Errorf("record %+v", r)
				}
				if test.reason == handler.ReasonIOError && r.Err != transport.ErrTruncated {
					t.Errorf("error %v, want ErrTruncated", r.Err)
				}
			})
		})
	}
}

// The end of a client is seen at once, also behind a part of a record, in whatever order both
// are noticed.
func TestTLSEndInARecord(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for _, pause := range []time.Duration{0, 10 * time.Millisecond} {
		overTLS(t, echoFrames, func(t *testing.T, s *served) {
			for range 20 {
				conn := s.connectByHand()
				sendRecord(t, conn, "hello\n")
				conn.Receive(t, "hello\n")
				record := conn.Out.Seal(testutil.DataRecord, []byte("lost\n"))
				conn.SetDeadline(time.Now().Add(patience / 3))
				send(t, conn.Conn, string(record[:10]))
				time.Sleep(pause)
				closeWrite(t, conn.Conn)
				closesWith(t, conn, alertCloseNotify)
				if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN && r.Reason != handler.ReasonIOError {
					t.Errorf("record %+v", r)
				}
				conn.Close()
			}
		})
	}
}

// After an error of the protocol the client gets the alert, although it is still sending.
func TestTLSAlertWhileSending(t *testing.T) {
	flood := strings.Repeat("x", 1<<20)
	overTLS(t, echoFrames, func(t *testing.T, s *served) {
		for range 5 {
			conn := s.connectByHand()
			sendRecord(t, conn, "hello\n")
			conn.Receive(t, "hello\n")
			bad := conn.Out.Seal(testutil.DataRecord, []byte("bad\n"))
			bad[10] ^= 1
			send(t, conn.Conn, string(bad)+flood)
			kind, data, err := conn.In.Open(conn.Conn)
			if err != nil || kind != testutil.AlertRecord || data[1] != alertBadRecordMAC {
				t.Fatalf("received a record of type %d with %x, %v; want the alert", kind, data, err)
			}
			conn.Close()
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonTLS ||
				r.Err == nil || !strings.Contains(r.Err.Error(), "bad record MAC") {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// What a hijacker gets is a *tls.Conn in which nothing is lost, with deadlines, both ways.
func TestTLSHijack(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	type taken struct {
		conn     net.Conn
		buffered []byte
		err      error
	}
	hijacked := make(chan taken, 1)
	build := func() *handler.Frames {
		for len(hijacked) > 0 {
			<-hijacked // of a test that has failed
		}
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			switch string(line) {
			case "take\n":
			case "\n":
				return nil // no reply
			default:
				return echoLine(c, line)
			}
			conn, buffered, err := c.Hijack()
			hijacked <- taken{conn, buffered, err}
			return nil
		}}
	}
	for _, updates := range []int{0, 1, 3, 3000} { // the answers to 3000 do not fit into memory's pipe
		t.Run(fmt.Sprint(updates, " KeyUpdates"), func(t *testing.T) {
			overTLS(t, build, func(t *testing.T, s *served) {
				for i := range max(2, 10-updates) {
					client := s.connectByHand()
					// The answers to the KeyUpdates may be under way when the client is taken.
					var stream []byte
					for u := range updates {
						stream = append(stream, client.Out.KeyUpdate(true)...)
						if u%10 == 9 {
							stream = append(stream, client.Out.Seal(testutil.DataRecord, []byte("\n"))...)
						}
					}
					reply := ""
					if i%2 > 0 {
						reply = "hello\n"
					}
					stream = append(stream, client.Out.Seal(testutil.DataRecord, []byte(reply+"take\nleft "))...)
					stream = append(stream, client.Out.Seal(testutil.DataRecord, []byte("over "))...)
					half := client.Out.Seal(testutil.DataRecord, []byte("half "))
					send(t, client.Conn, string(append(stream, half[:10]...)))
					answered := 0
					if updates > 0 {
						time.Sleep(10 * time.Millisecond) // the answers have to wait
						answered = client.ReceiveKeyUpdates(t, updates/2)
					}
					got := testutil.Await(t, "the hijack", hijacked)
					if got.err != nil {
						t.Fatal(got.err)
					}
					t.Cleanup(func() { got.conn.Close() })
					if _, ok := got.conn.(*tls.Conn); !ok {
						t.Fatalf("it is a %T", got.conn)
					}
					send(t, client.Conn, string(half[10:]))
					sendRecord(t, client, "and more")
					got.conn.SetDeadline(time.Now().Add(patience))
					rest := make([]byte, len("left over half and more")-len(got.buffered))
					if _, err := io.ReadFull(got.conn, rest); err != nil || string(got.buffered)+string(rest) != "left over half and more" {
						t.Fatalf("buffered %q, read %q, %v", got.buffered, rest, err)
					}
					if _, err := io.WriteString(got.conn, "from the owner"); err != nil {
						t.Fatal(err)
					}
					if answered += client.Receive(t, reply+"from the owner"); answered != updates {
						t.Errorf("%d KeyUpdates were answered, want %d", answered, updates)
					}
					got.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
					if n, err := got.conn.Read(rest); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("read %d bytes, %v; want the deadline", n, err)
					}
					got.conn.SetReadDeadline(time.Now().Add(patience))
					sendRecord(t, client, "again")
					if _, err := io.ReadFull(got.conn, rest[:5]); err != nil || string(rest[:5]) != "again" {
						t.Errorf("after the deadline: read %q, %v", rest[:5], err)
					}
					got.conn.Close()
					closesWith(t, client, alertCloseNotify)
					if r := s.records.Next(t); r.Reason != handler.ReasonHijacked {
						t.Errorf("record %+v", r)
					}
				}
			})
		})
	}
}

// Keys change while frames are served, and while the server pushes.
func TestTLSKeyUpdates(t *testing.T) {
	overTLS(t, echoFrames, func(t *testing.T, s *served) {
		conn := s.connectByHand()
		line := strings.Repeat("x", 999) + "\n"
		updates := 0
		for range 50 {
			var stream []byte
			for range 5 {
				stream = append(stream, conn.Out.KeyUpdate(true)...)
				stream = append(stream, conn.Out.Seal(testutil.DataRecord, []byte(line))...)
			}
			send(t, conn.Conn, string(stream))
			updates += conn.Receive(t, strings.Repeat(line, 5))
		}
		sendRecord(t, conn, "end\n")
		if updates += conn.Receive(t, "end\n"); updates != 250 {
			t.Errorf("%d KeyUpdates were answered, want 250", updates)
		}
	})
}

// floodKeyUpdates sends KeyUpdates that all want an answer until the server reads no more, and
// returns how many bytes that were.
func floodKeyUpdates(conn *testutil.RecordClient) (sent int) {
	for {
		var stream []byte
		for range 500 {
			for range 10 {
				stream = append(stream, conn.Out.KeyUpdate(true)...)
			}
			stream = append(stream, conn.Out.Seal(testutil.DataRecord, []byte("x"))...)
		}
		conn.SetWriteDeadline(time.Now().Add(limit / 4))
		n, err := conn.Conn.Write(stream)
		sent += n
		if err != nil {
			return sent
		}
	}
}

// A peer that wants new keys again and again, and reads no answer, is not read for ever, and
// its end is noticed.
func TestTLSKeyUpdateFlood(t *testing.T) {
	testutil.Long(t)
	overTLS(t, echoFrames, func(t *testing.T, s *served) {
		conn := s.connectByHand()
		if tcp, ok := conn.Conn.(*net.TCPConn); ok {
			tcp.SetReadBuffer(10_000)
			tcp.SetWriteBuffer(100_000)
		}
		before := testutil.Heap()
		sent := floodKeyUpdates(conn)
		// The server may not have come to its bound yet: it makes garbage until then.
		grown := int64(0)
		if !testutil.Soon(patience, func() bool { grown = testutil.Heap() - before; return grown < 2<<20 }) {
			t.Errorf("after %d bytes, the heap has grown by %d", sent, grown)
		}
		// The reset is seen by a write, or by a read.
		switch conn := conn.Conn.(type) {
		case *net.TCPConn:
			conn.SetLinger(0)
		case *tcptest.Conn:
			conn.SetLinger(0)
		}
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset || !netconn.IsReset(r.Err) {
			t.Errorf("record %+v", r)
		}
	})
}

// A client that does not read is treated as WhenSlow says, and costs no more than MaxPending.
func TestTLSSlowReader(t *testing.T) {
	testutil.Long(t)
	const pending = 256 << 10
	message := strings.Repeat("x", 9999) + "\n"
	for _, whenSlow := range []handler.WhenSlow{handler.SlowDrop, handler.SlowClose, handler.SlowBlock} {
		t.Run(fmt.Sprint(whenSlow), func(t *testing.T) {
			opened := make(chan *handler.Client, 1)
			build := func() *handler.Frames {
				h := echoFrames()
				h.MaxPending, h.WhenSlow = pending, whenSlow
				h.OnOpen = func(c *handler.Client) error { opened <- c; return nil }
				return h
			}
			overTLS(t, build, func(t *testing.T, s *served) {
				conn := s.connectByHand()
				c := testutil.Await(t, "the client", opened)
				before := testutil.Heap()
				wrote, slow := 0, false
				for range 2000 { // 20 MB
					if whenSlow == handler.SlowBlock && wrote > 500 {
						break
					}
					if whenSlow == handler.SlowBlock {
						wrote++
						continue
					}
					if _, err := io.WriteString(c, message); err != nil {
						slow = true
						if !errors.Is(err, handler.ErrSlowReader) && whenSlow == handler.SlowDrop {
							t.Fatal(err)
						}
						continue
					}
					wrote++
				}
				if whenSlow == handler.SlowBlock {
					done := make(chan int, 1)
					go func() {
						for range wrote {
							if _, err := io.WriteString(c, message); err != nil {
								t.Error(err)
							}
						}
						done <- wrote
					}()
					conn.Receive(t, strings.Repeat(message, wrote))
					testutil.Await(t, "the writer", done)
					return
				}
				if grown := testutil.Heap() - before; grown > 2*pending+(1<<20) {
					t.Errorf("the heap has grown by %d", grown)
				}
				if !slow {
					t.Fatal("no Write has failed")
				}
				if whenSlow == handler.SlowClose {
					conn.Close()
					if r := s.records.Next(t); r.Reason != handler.ReasonSlowReader {
						t.Errorf("record %+v", r)
					}
					return
				}
				conn.Receive(t, strings.Repeat(message, wrote)) // whole messages only
			})
		})
	}
}

// An idle client on an event loop has no goroutine.
func TestTLSIdleClientsHaveNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no event loops here")
	}
	const clients = 200
	overTLS(t, echoFrames, func(t *testing.T, s *served) {
		if !strings.HasSuffix(t.Name(), "/TLS") {
			t.Skip("by goroutine")
		}
		connect := func() net.Conn {
			conn := s.connectTLS()
			send(t, conn, "hello\n")
			receive(t, conn, "hello\n")
			return conn
		}
		connect()
		before := runtime.NumGoroutine()
		for range clients {
			connect()
		}
		if more := runtime.NumGoroutine() - before; more >= 20 {
			t.Errorf("%d clients have %d goroutines", clients, more)
		}
	})
}

// In a drain idle clients get a close_notify and a FIN, and busy ones their reply first.
func TestTLSDrain(t *testing.T) {
	release := make(chan struct{})
	serving := make(chan struct{}, 10)
	build := func() *handler.Frames {
		release = make(chan struct{})
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "slow\n" {
				serving <- struct{}{}
				<-release
			}
			return echoLine(c, line)
		}}
	}
	overTLS(t, build, func(t *testing.T, s *served) {
		idle, fresh, busy, half := s.connectByHand(), s.connectByHand(), s.connectByHand(), s.connectByHand()
		for _, conn := range []*testutil.RecordClient{idle, busy, half} {
			sendRecord(t, conn, "hello\n")
			conn.Receive(t, "hello\n")
		}
		sendRecord(t, busy, "slow\n")
		testutil.Await(t, "the frame", serving)
		send(t, half.Conn, string(half.Out.Seal(testutil.DataRecord, []byte("lost\n"))[:10]))
		begin := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- s.shutdown(patience) }()
		for _, conn := range []*testutil.RecordClient{idle, fresh, half} {
			closesWith(t, conn, alertCloseNotify)
			conn.Close()
		}
		close(release)
		busy.Receive(t, "slow\n")
		closesWith(t, busy, alertCloseNotify)
		busy.Close()
		if err := testutil.Await(t, "the drain", ended); err != nil {
			t.Error(err)
		}
		within(t, "drained", time.Since(begin), 0, slack)
		for range 4 {
			if r := s.records.Next(t); r.Reason != handler.ReasonDrain {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// Garbage after the handshake ends a client, and no other.
func TestTLSGarbage(t *testing.T) {
	overTLS(t, echoFrames, func(t *testing.T, s *served) {
		other := s.connectTLS()
		for _, garbage := range []string{
			"GET / HTTP/1.1\r\n\r\n", "\x17\x03\x03\x00\x00", "\x17\x03\x03\xff\xff", "\x15\x03\x03\x00\x02\x02\x00",
			"\x16\x03\x03\x00\x05hello", "\x80\x80\x80\x80\x80\x80", strings.Repeat("\x14\x03\x03\x00\x01\x01", 100),
		} {
			conn := s.connectByHand()
			send(t, conn.Conn, garbage)
			kind, data, err := conn.In.Open(conn.Conn)
			if err != nil || kind != testutil.AlertRecord || data[1] == alertCloseNotify {
				t.Errorf("%q: received a record of type %d with %x, %v; want an alert", garbage, kind, data, err)
			}
			conn.Close() // or the server lingers
			if r := s.records.Next(t); r.Reason != handler.ReasonTLS || r.Err == nil {
				t.Errorf("%q: record %+v", garbage, r)
			}
		}
		send(t, other, "still here\n")
		receive(t, other, "still here\n")
	})
}
