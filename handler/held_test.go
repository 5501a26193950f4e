package handler_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// withMemory is a handler whose clients echo lines, or get 16 MiB for "flood"; it is for
// overTransportsAtOnce.
func withMemory(s *served, limit int64) *handler.Frames {
	s.memory = &handler.Memory{Limit: limit}
	return &handler.Frames{
		Codec:      frame.Line{Max: 1 << 20, KeepEnd: true},
		MaxPending: 32 << 20,
		OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "flood\n" {
				_, err := c.Write(make([]byte, 16<<20))
				return err
			}
			return echoLine(c, line)
		},
	}
}

// connectAll connects n clients and a good one. When it returns, all of them are accepted, so
// that none is refused.
func (s *served) connectAll(n int) (good net.Conn, conns []net.Conn) {
	s.t.Helper()
	for range n {
		conns = append(conns, s.connect())
	}
	good = s.connect()
	send(s.t, good, "hello\n")
	receive(s.t, good, "hello\n")
	return good, conns
}

// checkMemory waits until clients were ended for want of memory and what is buffered is below
// the limit, with a good client served meanwhile; then it ends the clients, and nothing may be
// left.
func (s *served) checkMemory(good net.Conn, conns []net.Conn) {
	s.t.Helper()
	ended := 0
	eventually(s.t, "the limit to hold", func() bool {
		send(s.t, good, "hello\n")
		receive(s.t, good, "hello\n")
		for ; len(s.records.All) > 0; ended++ {
			r := s.records.Next(s.t)
			if r.Reason != handler.ReasonMemory || r.By != handler.ByServer || r.Err == nil {
				s.t.Errorf("record %+v, want the reason memory", r)
			}
		}
		return ended > 0 && s.memory.Used() <= s.memory.Limit
	})
	for _, conn := range append(conns, good) {
		conn.Close()
	}
	eventually(s.t, "nothing to be buffered", func() bool { return s.memory.Used() == 0 })
}

// Half lines are bounded together, and those who send whole ones do not notice.
func TestMemoryOfHalfLines(t *testing.T) {
	build := func(s *served) *handler.Frames { return withMemory(s, 512<<10) }
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		half := bytes.Repeat([]byte("x"), 60<<10)
		good, conns := s.connectAll(20)
		for _, conn := range conns {
			conn.Write(half) // it fails if the client is ended meanwhile
		}
		s.checkMemory(good, conns)
	})
}

// So is what clients do not read.
func TestMemoryOfClientsThatNeverRead(t *testing.T) {
	build := func(s *served) *handler.Frames { return withMemory(s, 12<<20) }
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		good, conns := s.connectAll(3)
		for _, conn := range conns {
			send(t, conn, "flood\n")
		}
		s.checkMemory(good, conns)
	})
}

// While ending others does not keep up, a client that holds much may not hold more: neither a long
// line nor output that it does not read. Others go on.
func TestMemoryOverrun(t *testing.T) {
	build := func(s *served) *handler.Frames {
		h := withMemory(s, 64<<20)
		once := h.OnFrame
		h.OnFrame = func(c *handler.Client, line []byte) error {
			if err := once(c, line); err != nil || string(line) != "flood\n" {
				return err
			}
			_, err := c.Write([]byte("and more"))
			if err == nil {
				t.Error("output is queued")
			}
			return err
		}
		return h
	}
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		good, conns := s.connectAll(2)
		long, slow := conns[0], conns[1]
		other := &handler.Held{Evict: func(error) {}} // does not end
		s.memory.Hold(other, 128<<20)
		long.Write(bytes.Repeat([]byte("x"), 500<<10)) // it fails if the client is ended meanwhile
		send(t, slow, "flood\n")
		for range 2 {
			if r := s.records.Next(t); r.Reason != handler.ReasonMemory || r.By != handler.ByServer || r.Err == nil {
				t.Errorf("record %+v, want the reason memory", r)
			}
		}
		send(t, good, "hello\n")
		receive(t, good, "hello\n")
	})
}

// What is read ahead of a handshake counts.
func TestMemoryOfHandshakes(t *testing.T) {
	overTransportsAtOnce(t, func(s *served) *handler.Frames {
		h := upgrading(t)
		s.memory = &handler.Memory{Limit: 1 << 30}
		s.gated = newGated()
		config := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.gated.began <- "hello"
			<-s.gated.gate
			return nil, nil
		}}
		h.OnFrame = func(c *handler.Client, line []byte) error {
			if err := c.StartTLS(config); err != nil {
				return err
			}
			return c.WriteFrame(line)
		}
		return h
	}, func(t *testing.T, s *served) {
		if s.server.TCP.TLSConfig != nil {
			t.Skip("it speaks TLS from the start")
		}
		conn := s.connect()
		send(t, conn, "STARTTLS\n")
		receive(t, conn, "STARTTLS\n")
		hello := make(chan error, 1)
		go func() { hello <- tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
		<-s.gated.began
		conn.Write(make([]byte, 60<<10))
		eventually(t, "what is read ahead to count", func() bool { return s.memory.Used() >= 50<<10 })
		close(s.gated.gate)
		<-hello
		conn.Close()
		eventually(t, "nothing to be buffered", func() bool { return s.memory.Used() == 0 })
	})
}

// A client that waits for a few bytes to be sent does not hold a large buffer of another one.
func TestMemoryOfSmallOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{}
		opened := opens(h)
		memory := &handler.Memory{Limit: 1 << 30}
		conn, server := tcptest.PipeSize(1 << 20)
		defer conn.Close()
		go h.Accept(&accepted{ctx: t.Context(), conn: server, memory: memory})
		c := <-opened
		text := make([]byte, 60<<10)
		for range 2 { // gathered, and sent
			c.Write(text)
			receive(t, conn, string(text))
		}
		small, smallServer := tcptest.PipeSize(1)
		defer small.Close()
		go h.Accept(&accepted{ctx: t.Context(), conn: smallServer, memory: memory})
		d := <-opened
		d.Write([]byte("a few bytes"))
		synctest.Wait()
		if n := memory.Used(); n == 0 || n > 100 {
			t.Errorf("%d bytes count for a few", n)
		}
		receive(t, small, "a few bytes")
	})
}

// A partial frame counts until it is whole, or the connection is hijacked.
func TestMemoryIsGivenBack(t *testing.T) {
	const half = 20 << 10
	build := func(s *served) *handler.Frames {
		h := withMemory(s, 1<<30)
		echo := h.OnFrame
		h.OnFrame = func(c *handler.Client, line []byte) error {
			if len(line) < half {
				return echo(c, line)
			}
			conn, _, err := c.Hijack()
			if err == nil {
				conn.Close()
			}
			return err
		}
		return h
	}
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "hel")
		eventually(t, "the partial frame to count", func() bool { return s.memory.Used() > 0 })
		if n := s.memory.Used(); n > 4<<10 {
			t.Errorf("%d bytes for a partial frame of 3", n)
		}
		send(t, conn, "lo\n")
		receive(t, conn, "hello\n")
		eventually(t, "nothing to be buffered", func() bool { return s.memory.Used() == 0 })
		conn.Write(make([]byte, half))
		eventually(t, "the partial frame to count", func() bool { return s.memory.Used() >= half })
		conn.Write([]byte("\n"))
		tcptest.ReceiveAll(t, conn, "")
		eventually(t, "nothing to be buffered", func() bool { return s.memory.Used() == 0 })
	})
}
