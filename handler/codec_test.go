package handler_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/lib/frame"
)

// smtp implements the part of RFC 5321 that changes codecs: DATA is followed by text
// that ends in a line of one dot.
func smtp() *handler.Frames {
	type state struct{ data bool }
	return &handler.Frames{
		Codec: frame.Line{CRLF: true},
		OnOpen: func(c *handler.Client) error {
			c.Value = new(state)
			return c.WriteFrame([]byte("220 ready"))
		},
		OnFrame: func(c *handler.Client, line []byte) error {
			st := c.Value.(*state)
			switch {
			case st.data:
				st.data = false
				c.SetCodec(nil)
				return c.WriteFrame(fmt.Appendf(nil, "250 %d bytes, %d lines", len(line), bytes.Count(line, []byte("\r\n"))+1))
			case string(line) == "DATA":
				st.data = true
				err := c.WriteFrame([]byte("354 go ahead"))
				c.SetCodec(frame.Delimiter{Delim: []byte("\r\n.\r\n"), Max: 1 << 20})
				return err
			case string(line) == "QUIT":
				c.WriteFrame([]byte("221 bye"))
				return handler.ErrQuit
			}
			return c.WriteFrame([]byte("250 ok"))
		},
	}
}

// memcached implements set and get of memcached's text protocol: a data block of as
// many bytes as the command says, and a line end.
func memcached() *handler.Frames {
	type state struct {
		key    string // not empty while a data block is expected
		values map[string]string
	}
	return &handler.Frames{
		OnOpen: func(c *handler.Client) error {
			c.Value = &state{values: make(map[string]string)}
			return nil
		},
		OnFrame: func(c *handler.Client, b []byte) (err error) {
			st := c.Value.(*state)
			if st.key != "" {
				block, ok := bytes.CutSuffix(b, []byte("\r\n"))
				if !ok {
					return errors.New("a data block without its end")
				}
				st.values[st.key] = string(block)
				st.key = ""
				c.SetCodec(nil)
				_, err = io.WriteString(c, "STORED\r\n")
				return err
			}
			fields := strings.Fields(string(b))
			switch {
			case len(fields) == 5 && fields[0] == "set":
				size, _ := strconv.Atoi(fields[4])
				st.key = fields[1]
				c.SetCodec(frame.Fixed{Len: size + 2})
			case len(fields) == 2 && fields[0] == "get":
				value := st.values[fields[1]]
				_, err = fmt.Fprintf(c, "VALUE %s 0 %d\r\n%s\r\nEND\r\n", fields[1], len(value), value)
			default:
				_, err = io.WriteString(c, "ERROR\r\n")
			}
			return err
		},
	}
}

// inPieces sends text to conn in pieces of size bytes.
func inPieces(conn net.Conn, text string, size int) error {
	for len(text) > 0 {
		n := min(size, len(text))
		if _, err := io.WriteString(conn, text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

func TestSwitchingProtocols(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	mail := "Subject: x\r\n\r\n..\r\nDATA\r\nQUIT"
	block := strings.Repeat("set k 0 0 3\r\n", 3000) // more than the initial buffer
	var in, out strings.Builder
	for i := range 40 {
		fmt.Fprintf(&in, "set %d 0 0 %d\r\n%s\r\nget %d\r\n", i, i*50, block[:i*50], i)
		fmt.Fprintf(&out, "STORED\r\nVALUE %d 0 %d\r\n%s\r\nEND\r\n", i, i*50, block[:i*50])
	}
	for _, test := range []struct {
		name    string
		build   func() *handler.Frames
		in, out string
		sizes   []int
	}{
		{"SMTP", smtp,
			"HELO x\r\nDATA\r\n" + mail + "\r\n.\r\nDATA\r\na\r\n.\r\nNOOP\r\nQUIT\r\n",
			fmt.Sprintf("220 ready\r\n250 ok\r\n354 go ahead\r\n250 %d bytes, %d lines\r\n354 go ahead\r\n250 1 bytes, 1 lines\r\n250 ok\r\n221 bye\r\n",
				len(mail), strings.Count(mail, "\r\n")+1),
			[]int{1, 2, 3, 7, 1 << 20}},
		{"memcached", memcached,
			"set k 0 0 5\r\nhello\r\nget k\r\nset k 0 0 4\r\n\r\n\r\n\r\nget k\r\nnonsense\r\n",
			"STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\nSTORED\r\nVALUE k 0 4\r\n\r\n\r\n\r\nEND\r\nERROR\r\n",
			[]int{1, 2, 3, 7, 1 << 20}},
		{"memcached, long", memcached,
			"set big 0 0 " + strconv.Itoa(len(block)) + "\r\n" + block + "\r\n" + in.String() + "get big\r\n",
			"STORED\r\n" + out.String() + fmt.Sprintf("VALUE big 0 %d\r\n%s\r\nEND\r\n", len(block), block),
			[]int{1000, 1 << 20}},
	} {
		t.Run(test.name, func(t *testing.T) {
			overTransportsAtOnce(t, func(*served) *handler.Frames { return test.build() }, func(t *testing.T, s *served) {
				for _, size := range test.sizes {
					conn := s.connect()
					var sender sync.WaitGroup
					sender.Go(func() {
						if err := inPieces(conn, test.in, size); err != nil {
							t.Errorf("in pieces of %d bytes: %v", size, err)
						}
						netconn.CloseWrite(conn)
					})
					receiveAll(t, conn, test.out)
					sender.Wait()
				}
			})
		})
	}
}

// unknown is a codec of a type that the handler does not know.
type unknown struct{ frame.Line }

// slow is a codec that blocks for payloads that begin with "slow".
type slow struct {
	unknown
	began chan struct{}
	gate  chan struct{}
}

func newSlow() slow { return slow{began: make(chan struct{}, 100), gate: make(chan struct{})} }

func (s slow) wait(payload []byte) {
	if bytes.HasPrefix(payload, []byte("slow")) {
		s.began <- struct{}{}
		<-s.gate
	}
}

func (s slow) Append(dst, payload []byte) ([]byte, error) {
	s.wait(payload)
	return s.unknown.Append(dst, payload)
}

func (s slow) Wrap(head, payload []byte) (newHead, tail []byte, err error) {
	s.wait(payload)
	return s.unknown.Wrap(head, payload)
}

// If the codec changes while a frame is being encoded, the frame is sent in the new
// encoding.
func TestCodecChangesWhileAFrameIsEncoded(t *testing.T) {
	for name, push := range map[string]string{"short": "slow push", "long": "slow" + strings.Repeat("x", 50000)} {
		t.Run(name, func(t *testing.T) {
			var codec slow
			build := func() *handler.Frames {
				codec = newSlow()
				return &handler.Frames{Codec: codec, OnFrame: func(c *handler.Client, b []byte) error {
					c.SetCodec(frame.Netstring{})
					return c.WriteFrame(b)
				}}
			}
			overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
				var pusher sync.WaitGroup
				defer pusher.Wait()
				pusher.Go(func() {
					if err := c.WriteFrame([]byte(push)); err != nil {
						t.Error(err)
					}
				})
				release := sync.OnceFunc(func() { close(codec.gate) })
				defer release()
				<-codec.began
				send(t, conn, "switch\n")
				receive(t, conn, "6:switch,")
				release()
				receive(t, conn, fmt.Sprintf("%d:%s,", len(push), push))
			})
		})
	}
}

// WriteFrame uses the current codec, in whichever goroutine it is called.
func TestWriteFrameFollowsTheCodec(t *testing.T) {
	build := func() *handler.Frames {
		return &handler.Frames{OnFrame: func(c *handler.Client, b []byte) error {
			switch string(b) {
			case "length":
				c.SetCodec(frame.Length{Width: 2})
			case "line":
				c.SetCodec(nil)
			}
			return c.WriteFrame(b)
		}}
	}
	overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		push := func(reply string) {
			t.Helper()
			if err := c.WriteFrame([]byte("push")); err != nil {
				t.Error(err)
			}
			receive(t, conn, reply)
		}
		push("push\n")
		send(t, conn, "a\nlength\n\x00\x01b\x00\x00")
		receive(t, conn, "a\n\x00\x06length\x00\x01b\x00\x00")
		push("\x00\x04push")
		send(t, conn, "\x00\x04linec\n")
		receive(t, conn, "line\nc\n")
		push("push\n")
		// A long payload, which is not copied.
		long := strings.Repeat("x", 60000)
		send(t, conn, "length\n\xea\x60"+long)
		receive(t, conn, "\x00\x06length\xea\x60"+long)
	})
}

func TestSetCodecInOnOpen(t *testing.T) {
	build := func() *handler.Frames {
		return &handler.Frames{
			OnOpen: func(c *handler.Client) error {
				c.SetCodec(frame.Length{Width: 1})
				return c.WriteFrame([]byte("hello"))
			},
			OnFrame: func(c *handler.Client, b []byte) error { return c.WriteFrame(b) },
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "\x03a\nb\x00")
		receive(t, conn, "\x05hello\x03a\nb\x00")
	})
}

// discarding discards lines of more than 100 bytes, and reports each of them to the
// client.
func discarding() *handler.Frames {
	return &handler.Frames{
		Codec:   frame.Line{Max: 100},
		TooLong: handler.TooLongDiscard,
		OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) },
		OnError: func(c *handler.Client, err error) {
			switch {
			case errors.Is(err, frame.ErrTooLong):
				io.WriteString(c, "too long\n")
			case errors.Is(err, os.ErrDeadlineExceeded):
				io.WriteString(c, "too slow\n")
			default:
				fmt.Fprintln(c, err)
			}
		},
	}
}

func TestDiscard(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	bad := strings.Repeat("x", 200)
	for name, test := range map[string]struct {
		in, out string
		frames  int64
	}{
		"one":                   {"a\n" + bad + "\nb\n", "a\ntoo long\nb\n", 2},
		"the first":             {bad + "\na\n", "too long\na\n", 1},
		"two in a row":          {bad + "\n" + bad + "\na\n", "too long\ntoo long\na\n", 1},
		"every other one":       {strings.Repeat(bad+"\na\n", 300), strings.Repeat("too long\na\n", 300), 300},
		"longer than a buffer":  {strings.Repeat("x", 100_000) + "\na\n", "too long\na\n", 1},
		"FIN within it":         {"a\n" + bad, "a\ntoo long\n", 1},
		"FIN in a long one":     {strings.Repeat("x", 100_000), "too long\n", 0},
		"FIN directly after it": {bad + "\n", "too long\n", 0},
		"FIN in the next":       {bad + "\nlast", "too long\nlast\n", 1},
		"maximum length":        {bad[:100] + "\r\n" + bad[:101] + "\na\n", bad[:100] + "\ntoo long\na\n", 2},
		"no long line":          {"a\n", "a\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			overTransportsAtOnce(t, func(*served) *handler.Frames { return discarding() }, func(t *testing.T, s *served) {
				conn := s.connect()
				var sender sync.WaitGroup
				defer sender.Wait()
				sender.Go(func() {
					io.WriteString(conn, test.in)
					netconn.CloseWrite(conn)
				})
				receiveAll(t, conn, test.out)
				if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.FramesIn != test.frames || r.BytesIn != int64(len(test.in)) {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// The reply to a long frame is sent as soon as the frame is too long. The client
// continues, in whatever pieces the rest of the frame arrives.
func TestDiscardInPieces(t *testing.T) {
	overTransports(t, discarding, func(t *testing.T, s *served) {
		conn := s.connect()
		for range 3 {
			send(t, conn, "a\n"+strings.Repeat("x", 150))
			receive(t, conn, "a\ntoo long\n")
			for range 5 {
				send(t, conn, strings.Repeat("y", 150))
			}
			send(t, conn, "y\nb")
			send(t, conn, "c\n")
			receive(t, conn, "bc\n")
		}
	})
}

// A frame with a length is skipped by its length.
func TestDiscardOfAnnouncedFrames(t *testing.T) {
	build := func() *handler.Frames {
		h := discarding()
		h.Codec = frame.Length{Width: 4, Max: 10}
		return h
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		bad := "\x00\x01\x86\xa0" + strings.Repeat("x", 100_000)
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() { io.WriteString(conn, bad+"\x00\x00\x00\x01a"+bad+"\x00\x00\x00\x00") })
		receive(t, conn, "too long\n\x00\x00\x00\x01atoo long\n\x00\x00\x00\x00")
	})
}

// If the codec cannot find the end of a long frame, the client is ended, as for other
// errors.
func TestDiscardWithoutEnd(t *testing.T) {
	build := func() *handler.Frames {
		h := discarding()
		h.Codec = noDiscarder{frame.Line{Max: 100}}
		return h
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\n"+strings.Repeat("x", 150)+"\nb\n")
		receiveAll(t, conn, "a\ntoo long\n")
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonFrameError || !errors.Is(r.Err, frame.ErrTooLong) {
			t.Errorf("record %+v", r)
		}
	})
}

// noDiscarder hides the optional methods of a codec.
type noDiscarder struct{ frame.Codec }

// OnError may change the codec for the input after a long frame.
func TestSetCodecInOnError(t *testing.T) {
	build := func() *handler.Frames {
		h := discarding()
		h.OnError = func(c *handler.Client, err error) {
			io.WriteString(c, "too long\n")
			c.SetCodec(frame.Length{Width: 1})
		}
		return h
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, strings.Repeat("x", 150)+"\n\x01a")
		receive(t, conn, "too long\n\x01a")
	})
}

// Discarding a frame of any length costs no memory.
func TestDiscardIsBounded(t *testing.T) {
	testutil.Long(t)
	const size, bound = 100 << 20, 16 << 20 // the parallel runs need a little memory too
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		t.Helper()
		conn := serve(discarding()).connect()
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		piece := bytes.Repeat([]byte("x"), 1<<20)
		inUse, before := testutil.Heap(), allocated()
		for range size / len(piece) {
			if _, err := conn.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		total := allocated() - before
		if n := testutil.Heap() - inUse; n > bound {
			t.Errorf("%d MiB are in use for a long line of %d MiB", n>>20, size>>20)
		}
		// The race detector has a sync.Pool drop some of what is put into it.
		if total > bound && !testutil.RaceEnabled {
			t.Errorf("%d MiB were allocated for a long line of %d MiB", total>>20, size>>20)
		}
		send(t, conn, "\nb\n")
		receive(t, conn, "too long\nb\n")
	})
}

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// FrameTimeout also applies to a frame that is being discarded.
func TestFrameTimeoutWhileDiscarding(t *testing.T) {
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := discarding()
		h.FrameTimeout = limit
		s := serve(h)
		conn := s.connect()
		begin := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for {
				if _, err := io.WriteString(conn, strings.Repeat("x", 60)); err != nil {
					return // the connection is closed
				}
				time.Sleep(limit / 10)
			}
		})
		receiveAll(t, conn, "too long\ntoo slow\n")
		within(t, "closed", time.Since(begin), limit, 2*limit+slack)
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonFrameTimeout {
			t.Errorf("record %+v", r)
		}
	})
}
