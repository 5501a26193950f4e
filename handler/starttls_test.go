package handler_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
)

// upgrading echoes lines, begins TLS at the line STARTTLS, and tells the state of TLS at the line
// TLS.
func upgrading(t testing.TB) *handler.Frames {
	config := &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
	return &handler.Frames{
		OnFrame: func(c *handler.Client, line []byte) error {
			switch text := string(line); text {
			case "STARTTLS":
				if err := c.StartTLS(config); err != nil {
					fmt.Fprintf(c, "%v\n", err)
					return nil
				}
				_, err := io.WriteString(c, "go ahead\n")
				return err
			case "TLS":
				_, err := fmt.Fprintf(c, "%t\n", c.TLS() != nil)
				return err
			case "quit":
				return handler.ErrQuit
			default:
				_, err := fmt.Fprintf(c, "%s\n", text)
				return err
			}
		},
	}
}

// overPlainTransports is overTransports without those that speak TLS from the start.
func overPlainTransports(t *testing.T, build func() *handler.Frames, test func(t *testing.T, s *served)) {
	overTransports(t, build, func(t *testing.T, s *served) {
		if s.server.TCP.TLSConfig != nil {
			t.Skip("it speaks TLS from the start")
		}
		test(t, s)
	})
}

// secure makes the client's end of the handshake.
func secure(t *testing.T, conn net.Conn) *tls.Conn {
	t.Helper()
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return client
}

func TestStartTLS(t *testing.T) {
	overPlainTransports(t, func() *handler.Frames { return upgrading(t) }, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "TLS\nSTARTTLS\n")
		receive(t, conn, "false\ngo ahead\n")
		client := secure(t, conn)
		send(t, client, "TLS\nSTARTTLS\na\n")
		receive(t, client, "true\n"+handler.ErrTLSActive.Error()+"\na\n")
		long := strings.Repeat("x", 50_000)
		send(t, client, long+"\nquit\n")
		receiveAll(t, client, long+"\n")
		conn.Close()
		r := s.records.Next(t)
		if r.ID != 1 || r.Reason != handler.ReasonClosed || r.FramesIn != 7 || r.FramesOut != 6 {
			t.Errorf("record %+v; want the same client from the start", r)
		}
	})
}

// Plain text behind STARTTLS is never taken for what the client has sent over TLS.
func TestStartTLSDiscardsPlaintext(t *testing.T) {
	errs := make(chan error, 100)
	build := func() *handler.Frames {
		h := upgrading(t)
		h.OnError = func(_ *handler.Client, err error) { errs <- err }
		return h
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		if strings.Contains(t.Name(), "byte_by_byte") {
			t.Skip("what comes later is part of the handshake")
		}
		conn := s.connect()
		send(t, conn, "STARTTLS\ninjected\nand a half")
		receive(t, conn, "go ahead\n")
		client := secure(t, conn)
		if err := testutil.Await(t, "ErrPlaintext", errs); !errors.Is(err, handler.ErrPlaintext) {
			t.Errorf("OnError was told %v, want ErrPlaintext", err)
		}
		send(t, client, "own\n")
		receive(t, client, "own\n")
	})
}

// What other goroutines write from the end of the function on is sent after the handshake.
func TestStartTLSHoldsPushes(t *testing.T) {
	overPlainTransports(t, func() *handler.Frames { return upgrading(t) }, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "go ahead\n")
		for c := range s.server.TCP.Handler.(*handler.Frames).Clients().All() {
			if _, err := io.WriteString(c, "pushed\n"); err != nil {
				t.Error(err)
			}
		}
		client := secure(t, conn)
		receive(t, client, "pushed\n")
		send(t, client, "a\n")
		receive(t, client, "a\n")
	})
}

func TestStartTLSFails(t *testing.T) {
	ways := []struct {
		name   string
		do     func(t *testing.T, conn net.Conn)
		reason handler.Reason
	}{
		{"no handshake", func(t *testing.T, conn net.Conn) {
			send(t, conn, "this is no ClientHello\n")
		}, handler.ReasonTLS},
		{"FIN", func(t *testing.T, conn net.Conn) { closeWrite(t, conn) }, handler.ReasonTLS},
		{"an old version", func(t *testing.T, conn net.Conn) {
			old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
			err := tls.Client(conn, old).Handshake()
			if err == nil || !strings.Contains(err.Error(), "protocol version") {
				t.Errorf("handshake: %v; want the alert", err)
			}
		}, handler.ReasonTLS},
		{"silence", func(*testing.T, net.Conn) {}, handler.ReasonTLS},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			build := func() *handler.Frames {
				h := upgrading(t)
				h.HandshakeTimeout = patience
				if way.name == "silence" {
					h.HandshakeTimeout = 50 * time.Millisecond
				}
				return h
			}
			overPlainTransports(t, build, func(t *testing.T, s *served) {
				conn := s.connect()
				send(t, conn, "STARTTLS\n")
				receive(t, conn, "go ahead\n")
				way.do(t, conn)
				if way.name == "silence" {
					receiveAll(t, conn, "")
				}
				conn.Close()
				if r := s.records.Next(t); r.Reason != way.reason || r.By != handler.ByClient || r.Err == nil {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A drain does not wait for a client in its handshake.
func TestStartTLSDrain(t *testing.T) {
	overPlainTransports(t, func() *handler.Frames { return upgrading(t) }, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "go ahead\n")
		if err := s.shutdown(patience); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if r := s.records.Next(t); r.Reason != handler.ReasonDrain {
			t.Errorf("record %+v", r)
		}
	})
}

// Hijack after StartTLS gives the connection with its TLS.
func TestStartTLSHijack(t *testing.T) {
	var hijacked atomic.Int32
	build := func() *handler.Frames {
		h := upgrading(t)
		plain := h.OnFrame
		h.OnFrame = func(c *handler.Client, line []byte) error {
			if string(line) != "hijack" {
				return plain(c, line)
			}
			conn, buffered, err := c.Hijack()
			if err != nil {
				return err
			}
			hijacked.Add(1)
			go func() {
				defer conn.Close()
				r := bufio.NewReader(io.MultiReader(strings.NewReader(string(buffered)), conn))
				conn.SetDeadline(time.Now().Add(patience))
				text, _ := r.ReadString('\n')
				fmt.Fprintf(conn, "%T %s", conn, text)
			}()
			return nil
		}
		return h
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "go ahead\n")
		client := secure(t, conn)
		send(t, client, "hijack\nrest\n")
		receiveAll(t, client, "*tls.Conn rest\n")
	})
}

// A panic in a function of the tls.Config ends its client only.
func TestStartTLSPanics(t *testing.T) {
	silenceLog(t)
	build := func() *handler.Frames {
		config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("test") }}
		return &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "STARTTLS" {
				c.StartTLS(config)
			}
			return c.WriteFrame(line)
		}}
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		other := s.connect()
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "STARTTLS\n")
		tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
		conn.Close()
		if r := s.records.Next(t); r.Reason != handler.ReasonPanic {
			t.Errorf("record %+v", r)
		}
		send(t, other, "a\n")
		receive(t, other, "a\n")
	})
}

// With one place for handshakes, clients that have sent half a hello do not hold up another.
func TestStartTLSMaxHandshakes(t *testing.T) {
	build := func() *handler.Frames {
		h := upgrading(t)
		h.MaxHandshakes = 1
		return h
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		for range 3 {
			conn := s.connect()
			send(t, conn, "STARTTLS\n")
			receive(t, conn, "go ahead\n")
			send(t, conn, "\x16\x03\x01\x02\x00") // the header of a record
		}
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "go ahead\n")
		client := secure(t, conn)
		send(t, client, "a\n")
		receive(t, client, "a\n")
	})
}

// A push for which there is no room waits for the end of the handshake.
func TestStartTLSPushesBeyondTheLimit(t *testing.T) {
	build := func() *handler.Frames {
		h := upgrading(t)
		h.MaxPending = 100
		return h
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "go ahead\n")
		text := strings.Repeat("p", 99) + "\n"
		pushed := make(chan error, 1)
		go func() {
			for c := range s.server.TCP.Handler.(*handler.Frames).Clients().All() {
				for range 3 {
					if _, err := io.WriteString(c, text); err != nil {
						pushed <- err
						return
					}
				}
			}
			pushed <- nil
		}()
		client := secure(t, conn)
		receive(t, client, text+text+text)
		if err := testutil.Await(t, "the pushes", pushed); err != nil {
			t.Error(err)
		}
	})
}

// What was to be encrypted is never sent in plain text, also if the handshake does not begin.
func TestStartTLSNeverSendsPushesInPlaintext(t *testing.T) {
	testutil.Long(t)
	size := 16 << 20
	if testutil.Reduced() {
		size = 4 << 20
	}
	reply := strings.Repeat("r", size) + "\n"
	upgraded := make(chan *handler.Client, 1)
	build := func() *handler.Frames {
		config := &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
		return &handler.Frames{MaxPending: 32 << 20, OnFrame: func(c *handler.Client, _ []byte) error {
			if err := c.StartTLS(config); err != nil {
				return err
			}
			io.WriteString(c, reply)
			upgraded <- c
			return nil
		}}
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, reply[:1])
		c := testutil.Await(t, "the client", upgraded)
		eventually(t, "the batch is over", func() bool { return c.Record().FramesIn == 1 })
		io.WriteString(c, "secret\n")
		c.Close()
		receiveAll(t, conn, reply[1:])
	})
}

// A function of the tls.Config that blocks ends with the timeout of the handshake, and a drain does
// not wait for it.
func TestStartTLSFunctionBlocks(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for _, drains := range []bool{false, true} {
		t.Run(fmt.Sprint("drains ", drains), func(t *testing.T) {
			opened, entered := make(chan struct{}), make(chan struct{}, 100)
			defer close(opened)
			config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				entered <- struct{}{}
				<-opened
				return nil, errors.New("too late")
			}}
			build := func() *handler.Frames {
				h := &handler.Frames{HandshakeTimeout: 300 * time.Millisecond, OnFrame: func(c *handler.Client, line []byte) error {
					c.StartTLS(config)
					return c.WriteFrame(line)
				}}
				if drains {
					h.HandshakeTimeout = time.Hour
				}
				return h
			}
			overPlainTransports(t, build, func(t *testing.T, s *served) {
				conn := s.connect()
				send(t, conn, "STARTTLS\n")
				receive(t, conn, "STARTTLS\n")
				go tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
				want := handler.ReasonTLS // byte by byte, the hello takes longer than the timeout
				if drains {
					testutil.Await(t, "the function", entered)
					want = handler.ReasonDrain
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					if err := s.server.TCP.Shutdown(ctx); err != nil {
						t.Errorf("shutdown: %v", err)
					}
				}
				if r := s.records.Next(t); r.Reason != want {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}
