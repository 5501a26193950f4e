//go:build unix

package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	p := start(t)
	longest := strings.Repeat("x", 64<<10)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	random := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	for name, input := range map[string]string{
		"nothing":             "",
		"a line and a half":   "a\nb",
		"carriage returns":    "a\r\n\r\nb\rc\r\n",
		"empty lines":         "\n\n\n",
		"no end":              "a",
		"a carriage return":   "a\n\r",
		"every byte":          string(every),
		"zero bytes":          "\x00\x00\n\x00",
		"not UTF-8":           "\xff\xfe\n\xc3\x28\n",
		"random bytes":        string(random),
		"many lines":          strings.Repeat("0123456789abcdef\n", 100_000),
		"longest lines":       longest + "\n" + longest + "\r\n" + longest,
		"telnet negotiation":  "\xff\xfd\x03\xff\xfb\x18a\r\n",
		"what looks like TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := p.dial()
			var sender sync.WaitGroup
			defer sender.Wait()
			sender.Go(func() {
				io.WriteString(conn, input)
				conn.(*net.TCPConn).CloseWrite()
			})
			receiveRest(t, conn, input)
		})
	}
}

// A line is answered as soon as it is complete, however it was split on its way.
func TestEchoByteByByte(t *testing.T) {
	t.Parallel()
	conn := start(t).dial()
	conn.(*net.TCPConn).SetNoDelay(true)
	for _, line := range []string{"hello\n", "\n", "wörld\r\n"} {
		for i := range len(line) {
			send(t, conn, line[i:i+1])
		}
		receive(t, conn, line)
	}
}

// The answer to a line that is too long arrives in full although its client sends all the
// time: a close with unread input would make the kernel reset the connection and discard the
// answer.
func TestLineTooLong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		arg, answer string
	}{
		{"--echo.max_line=64KiB", "error: line too long (max 65536 bytes)\n"},
		{"--echo.max_line=10", "error: line too long (max 10 bytes)\n"},
	} {
		t.Run(test.arg, func(t *testing.T) {
			t.Parallel()
			const clients, rounds = 10, 20
			p := start(t, test.arg)
			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					for range rounds {
						before := []int{0, 1 << 20}[i%2] // bytes sent before reading
						answer, err := flood(p.addr, "hello\n", before)
						if want := "hello\n" + test.answer; answer != want || err != nil {
							t.Errorf("received %s, %v; want %q", abridged(answer), err, want)
							return
						}
					}
				})
			}
			all.Wait()
			p.stop()
			if n := len(p.find("reason", "frame_error")); n != clients*rounds {
				t.Errorf("%d records of a frame error, want %d", n, clients*rounds)
			}
		})
	}
}

// flood sends the string greeting and then a line without an end, as long as the server
// allows. It reads only after that many bytes, and returns what it received until the FIN.
func flood(addr, greeting string, before int) (answer string, err error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	enough := make(chan struct{})
	var sender sync.WaitGroup
	defer sender.Wait()
	defer conn.Close() // ends the sending goroutine
	sender.Go(func() {
		defer close(enough)
		if _, err := io.WriteString(conn, greeting); err != nil {
			return
		}
		if sendZeros(conn, before) != nil {
			return
		}
		enough <- struct{}{}
		for sendZeros(conn, 1<<20) == nil {
		}
	})
	<-enough
	b, err := io.ReadAll(conn)
	return string(b), err
}

var zeros = make([]byte, 64<<10)

func sendZeros(w io.Writer, n int) error {
	for ; n > 0; n -= len(zeros) {
		if _, err := w.Write(zeros); err != nil {
			return err
		}
	}
	return nil
}

// A client that never reads is not read from either, and affects only itself. At last it is
// reset.
func TestClientNeverReads(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	p := start(t, "--echo.write_timeout=1s")
	conn := p.dial()
	stuck := sendUntilStuck(conn)
	echoes(t, p.dial(), "hello\n")
	record := p.await("msg", "connection")
	if record["by"] != "server" || record["reason"] != "write_timeout" {
		t.Errorf("record %v, want a write timeout", record)
	}
	if !netconn.IsReset(stuck) { // on a busy machine the last write may be told of it already
		wantReset(t, conn)
	}
}

// sendUntilStuck sends lines until all buffers on the way are full, and returns the error of the last
// write.
func sendUntilStuck(conn net.Conn) (err error) {
	lines := strings.Repeat("0123456789abcdef\n", 4096)
	for err == nil {
		conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		_, err = io.WriteString(conn, lines)
	}
	return err
}

// Clients of all kinds at the same time do not disturb each other.
func TestManyClients(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	p := start(t, "--log.connections=false")
	var all sync.WaitGroup
	for i := range 50 {
		conn := p.dial()
		all.Go(func() {
			for j := range 200 {
				line := fmt.Sprintf("client %d, line %d %s\n", i, j, strings.Repeat("x", i*j))
				conn.SetDeadline(time.Now().Add(patience))
				io.WriteString(conn, line)
				if got := make([]byte, len(line)); !readsFull(conn, got) || string(got) != line {
					t.Errorf("sent %s, received %s", abridged(line), abridged(string(got)))
					return
				}
			}
		})
	}
	all.Wait()
	p.stop()
}
