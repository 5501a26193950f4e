package tcptest_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// TestConnIsANetConn runs nettest.TestConn. That writes 13 bytes to an echo before it
// reads any of them. So the two buffers and the echo itself must hold 13 bytes; 6 bytes
// in each direction are the smallest size that always works. The tests below cover
// smaller buffers, with which a real connection would block too.
func TestConnIsANetConn(t *testing.T) {
	for _, size := range []int{6, 7, tcptest.DefaultBuffer} {
		for _, from := range []string{"client", "server"} {
			t.Run(strconv.Itoa(size)+" from "+from, func(t *testing.T) {
				t.Parallel()
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					c1, c2 = tcptest.PipeSize(size)
					if from == "server" {
						c1, c2 = c2, c1
					}
					return c1, c2, func() { c1.Close(); c2.Close() }, nil
				})
			})
		}
	}
}

// TestOneByteAtATime also checks that a Read returns no more than the buffer holds,
// even if a Write has more: so a handler can be tested byte by byte.
func TestOneByteAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := randomBytes(1 << 16)
		client, server := tcptest.PipeSize(1)
		go func() {
			client.Write(want)
			client.Close()
		}()
		got := make([]byte, 0, len(want))
		for {
			buf := make([]byte, 100)
			n, err := server.Read(buf)
			if err == io.EOF {
				break
			}
			if n != 1 || err != nil {
				t.Fatalf("read %d bytes, %v", n, err)
			}
			got = append(got, buf[0])
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived, %d were sent, and they differ", len(got), len(want))
		}
	})
}

func TestWriteStopsWhereTheBufferIsFull(t *testing.T) {
	for _, size := range []int{1, 7, 1000} {
		synctest.Test(t, func(t *testing.T) {
			client, server := tcptest.PipeSize(size)
			client.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := client.Write(make([]byte, 3*size))
			if n != size || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write into a buffer of %d: %d, %v", size, n, err)
			}
			server.Read(make([]byte, 1))
			client.SetWriteDeadline(time.Now().Add(time.Second))
			n, err = client.Write(make([]byte, 3*size))
			if n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write with room for one byte: %d, %v", n, err)
			}
		})
	}
}

func TestPipeSizeOfZeroOrLessIsDefault(t *testing.T) {
	for _, size := range []int{0, -1} {
		client, _ := tcptest.PipeSize(size)
		client.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		if n, _ := client.Write(make([]byte, 2*tcptest.DefaultBuffer)); n != tcptest.DefaultBuffer {
			t.Errorf("PipeSize(%d) accepted %d bytes", size, n)
		}
	}
}

// TestDataArrivesInOrder sends data in both directions at the same time, in random
// pieces through buffers of random size.
func TestDataArrivesInOrder(t *testing.T) {
	for i := range 50 {
		a, b := tcptest.PipeSize(1 + rand.IntN(1+10*i))
		toA, toB := randomBytes(20_000), randomBytes(20_000)
		var wg sync.WaitGroup
		wg.Go(func() { writePieces(t, a, toB) })
		wg.Go(func() { writePieces(t, b, toA) })
		wg.Go(func() { readPieces(t, a, toA) })
		wg.Go(func() { readPieces(t, b, toB) })
		wg.Wait()
	}
}

func writePieces(t *testing.T, c *tcptest.Conn, b []byte) {
	for len(b) > 0 {
		n, err := c.Write(b[:min(len(b), rand.IntN(1000))])
		if err != nil {
			t.Error(err)
			return
		}
		b = b[n:]
	}
	c.CloseWrite()
}

func readPieces(t *testing.T, c *tcptest.Conn, want []byte) {
	var got []byte
	for {
		buf := make([]byte, rand.IntN(1000))
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, %d were sent, and they differ", len(got), len(want))
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestWritesAreNotInterleaved(t *testing.T) {
	const writers, length = 8, 1000
	client, server := tcptest.PipeSize(7)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { client.Write(bytes.Repeat([]byte{'a' + byte(i)}, length)) })
	}
	go func() {
		wg.Wait()
		client.Close()
	}()
	seen := map[byte]bool{}
	block := make([]byte, length)
	for {
		if _, err := io.ReadFull(server, block); err != nil {
			break
		}
		if seen[block[0]] || bytes.Count(block, block[:1]) != length {
			t.Fatalf("the writes are mixed: %.40s...", block)
		}
		seen[block[0]] = true
	}
	if len(seen) != writers {
		t.Errorf("read %d whole writes, want %d", len(seen), writers)
	}
}

// TestEveryBlockedWriteFails lets many calls of Write wait for one, which then fails
// with a deadline. The synctest bubble detects a call that is never woken.
func TestEveryBlockedWriteFails(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			client, server := tcptest.PipeSize(1)
			client.SetWriteDeadline(time.Now().Add(time.Second))
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, err := client.Write(make([]byte, 100))
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
					}
				})
			}
			io.ReadFull(server, make([]byte, 50)) // changes the order in which they wait
			wg.Wait()
		})
	}
}

// TestResetIsReportedOnce checks a case that a proxy must handle: if a Read and a Write
// are blocked, only one of them returns ECONNRESET.
func TestResetIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tcptest.PipeSize(1)
		readErr, writeErr := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			readErr <- err
		}()
		go func() {
			_, err := a.Write(make([]byte, 2))
			writeErr <- err
		}()
		synctest.Wait()
		b.Reset()
		switch got := kind(<-readErr) + " " + kind(<-writeErr); got {
		case "ECONNRESET EPIPE", "EOF ECONNRESET":
		default:
			t.Errorf("Read and Write returned %s", got)
		}
	})
}

func TestWasReset(t *testing.T) {
	tests := []struct {
		name string
		end  func(a, b *tcptest.Conn)
		want bool
	}{
		{"no event", func(a, b *tcptest.Conn) {}, false},
		{"fin", func(a, b *tcptest.Conn) { b.Close() }, false},
		{"reset", func(a, b *tcptest.Conn) { b.Reset() }, true},
		{"own reset", func(a, b *tcptest.Conn) { a.Reset() }, false},
		{"unread input", func(a, b *tcptest.Conn) { a.Write([]byte("x")); b.Close() }, true},
		{"write after close", func(a, b *tcptest.Conn) { b.Close(); a.Write([]byte("x")) }, true},
		{"reset after both fins", func(a, b *tcptest.Conn) { a.CloseWrite(); b.CloseWrite(); b.Reset() }, false},
		{"reset after own close", func(a, b *tcptest.Conn) { a.Close(); b.Reset() }, false},
	}
	for _, tt := range tests {
		a, b := tcptest.Pipe()
		tt.end(a, b)
		if got := a.WasReset(); got != tt.want {
			t.Errorf("%s: WasReset = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWasResetKeepsTheError(t *testing.T) {
	a, b := tcptest.Pipe()
	b.Reset()
	before := a.WasReset()
	_, err := a.Read(make([]byte, 1))
	after := a.WasReset()
	if !before || !errors.Is(err, syscall.ECONNRESET) || !after {
		t.Errorf("WasReset = %v, Read: %v, WasReset = %v", before, err, after)
	}
}

func TestIdleTimeoutInABubble(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		client, server := tcptest.Pipe()
		go echoUntilIdle(server, time.Hour)
		inBubble := time.Now()
		for range 3 {
			time.Sleep(59 * time.Minute)
			client.Write([]byte("x"))
			if _, err := client.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read of an idle connection: %v, want EOF", err)
		}
		if got, want := time.Since(inBubble), 3*59*time.Minute+time.Hour; got != want {
			t.Errorf("the connection ended after %v, want %v", got, want)
		}
	})
	if spent := time.Since(began); spent > 10*time.Second {
		t.Errorf("the test took %v of real time", spent)
	}
}

func echoUntilIdle(c net.Conn, idle time.Duration) {
	defer c.Close()
	buf := make([]byte, 100)
	for {
		c.SetReadDeadline(time.Now().Add(idle))
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		c.Write(buf[:n])
	}
}

// TestLastDeadlineCounts changes the deadline of a blocked Read.
func TestLastDeadlineCounts(t *testing.T) {
	tests := []struct {
		name string
		set  []time.Duration // from the start, one after each second
		want time.Duration
	}{
		{"one", []time.Duration{time.Hour}, time.Hour},
		{"later", []time.Duration{time.Minute, time.Hour}, time.Hour},
		{"earlier", []time.Duration{time.Hour, time.Minute}, time.Minute},
		{"past", []time.Duration{time.Hour, -time.Hour}, time.Second},
		{"now", []time.Duration{time.Hour, time.Second}, time.Second},
		{"later, earlier", []time.Duration{time.Minute, time.Hour, 2 * time.Minute}, 2 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _ := tcptest.Pipe()
				start := time.Now()
				client.SetReadDeadline(start.Add(tt.set[0]))
				go func() {
					for _, d := range tt.set[1:] {
						time.Sleep(time.Second)
						client.SetReadDeadline(start.Add(d))
					}
				}()
				_, err := client.Read(make([]byte, 1))
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("Read returned after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestZeroDeadlineLetsReadWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := tcptest.Pipe()
		client.SetDeadline(time.Now().Add(time.Minute))
		client.SetDeadline(time.Time{})
		go func() {
			time.Sleep(24 * time.Hour)
			server.Write([]byte("x"))
		}()
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlineFarAwayIsNotPast(t *testing.T) {
	client, server := tcptest.Pipe()
	defer client.Close()
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	client.SetDeadline(far)
	server.Write([]byte("x"))
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// TestDeadlinesOfBothEndsAreSeparate checks that a deadline of one end does not affect
// the other, although they share a mutex and conditions.
func TestDeadlinesOfBothEndsAreSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := tcptest.PipeSize(1)
		client.SetDeadline(time.Now().Add(time.Second))
		go func() {
			time.Sleep(time.Minute)
			client.Reset()
		}()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want ECONNRESET", err)
		}
	})
}

// TestAllMethodsAtTheSameTime is a test for the race detector. It must end.
func TestAllMethodsAtTheSameTime(t *testing.T) {
	methods := []func(c *tcptest.Conn){
		func(c *tcptest.Conn) { c.Read(make([]byte, 5)) },
		func(c *tcptest.Conn) { c.Write(make([]byte, 5)) },
		func(c *tcptest.Conn) { c.CloseRead() },
		func(c *tcptest.Conn) { c.CloseWrite() },
		func(c *tcptest.Conn) { c.SetLinger(rand.IntN(2) - 1) },
		func(c *tcptest.Conn) { c.SetDeadline(time.Now().Add(time.Microsecond)) },
		func(c *tcptest.Conn) { c.SetReadDeadline(time.Time{}) },
		func(c *tcptest.Conn) { c.SetWriteDeadline(time.Now()) },
		func(c *tcptest.Conn) { c.WasReset() },
		func(c *tcptest.Conn) { c.LocalAddr(); c.RemoteAddr() },
		func(c *tcptest.Conn) { c.Close() },
		func(c *tcptest.Conn) { c.Reset() },
	}
	for range 300 {
		a, b := tcptest.PipeSize(3)
		var calls sync.WaitGroup
		for _, i := range rand.Perm(2 * len(methods)) {
			calls.Go(func() { methods[i/2]([]*tcptest.Conn{a, b}[i%2]) })
		}
		calls.Wait()
	}
}

func TestAddresses(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		client, server := tcptest.Pipe()
		if client.LocalAddr() != server.RemoteAddr() || client.RemoteAddr() != server.LocalAddr() {
			t.Fatal("the addresses of the two ends do not match")
		}
		for _, a := range []net.Addr{client.LocalAddr(), client.RemoteAddr()} {
			tcp, ok := a.(*net.TCPAddr)
			if !ok || tcp.Port < 1024 || !strings.HasPrefix(a.String(), "192.0.2.") || seen[a.String()] {
				t.Fatalf("address %v (%T)", a, a)
			}
			seen[a.String()] = true
		}
	}
}

func TestConnIsCollected(t *testing.T) {
	tests := []struct {
		name string
		use  func(c *tcptest.Conn)
	}{
		{"not closed", func(c *tcptest.Conn) { c.Write(make([]byte, 1000)) }},
		{"closed before its deadline", func(c *tcptest.Conn) {
			c.SetDeadline(time.Now().Add(time.Hour))
			c.Close()
		}},
		{"deadline removed", func(c *tcptest.Conn) {
			c.SetDeadline(time.Now().Add(time.Hour))
			c.SetDeadline(time.Time{})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			collected := make(chan bool)
			func() {
				client, _ := tcptest.Pipe()
				tt.use(client)
				runtime.AddCleanup(client, func(done chan bool) { close(done) }, collected)
			}()
			waitForCollection(t, collected)
		})
	}
}

func waitForCollection(t *testing.T, collected <-chan bool) {
	tooLate := time.After(10 * time.Second)
	for {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-tooLate:
			t.Fatal("the connection was not garbage collected")
		case <-time.After(time.Millisecond):
		}
	}
}

func BenchmarkPingPong(b *testing.B) {
	client, server := tcptest.Pipe()
	go func() {
		io.Copy(server, server)
		server.Close()
	}()
	buf := make([]byte, 64)
	b.SetBytes(2 * int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		client.Write(buf)
		io.ReadFull(client, buf)
	}
	client.Close()
}

func BenchmarkBulk(b *testing.B) {
	client, server := tcptest.Pipe()
	read := make(chan bool)
	go func() {
		io.Copy(io.Discard, server)
		close(read)
	}()
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		client.Write(buf)
	}
	client.Close()
	<-read
}
