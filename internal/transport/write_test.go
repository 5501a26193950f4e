package transport_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/internal/transport"
)

// overPolls runs test with the two kinds of Write that a connection on a poller has.
func overPolls(t *testing.T, test func(t *testing.T, e *ends)) {
	for _, kind := range kinds {
		for _, copies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, copies %v", kind.name, copies), func(t *testing.T) {
				e := handshake(t, kind.client, kind.version)
				p := newPoll(t)
				p.copies = copies
				e.use(p)
				test(t, e)
			})
		}
	}
}

// want checks what the peer can read, and that nothing has ended.
func (e *ends) want(want string) {
	e.t.Helper()
	if got, err := e.received(); string(got) != want || err != nil {
		e.t.Errorf("the peer has read %d bytes, %v; want %d", len(got), err, len(want))
	}
}

// Nothing counts as written until the connection has accepted all of its ciphertext.
func TestWriteCountsWhatIsAccepted(t *testing.T) {
	message := pattern(300)
	overPolls(t, func(t *testing.T, e *ends) {
		e.poll.accepts = 0
		for i := 0; e.near.Unsent() == 0 || e.near.Unsent() > 1; i++ {
			if n := e.write(message); n != 0 {
				t.Fatalf("after %d bytes of ciphertext, %d of plaintext count", i, n)
			}
			e.accept(1)
			if n := e.write(message); n != 0 && e.near.Unsent() > 0 {
				t.Fatalf("after %d bytes of ciphertext, %d of plaintext count", i, n)
			} else if n > 0 {
				break
			}
			if i > 1000 {
				t.Fatal("it is never written")
			}
		}
		e.accept(1 << 20)
		e.write(nil)
		e.want(string(message))
	})
}

// A retry may offer fewer bytes than before. Then more may have been written than it offers.
func TestWriteRetryOffersLess(t *testing.T) {
	message := pattern(300)
	overPolls(t, func(t *testing.T, e *ends) {
		e.poll.accepts = 100
		if n := e.write(message); n != 0 {
			t.Fatalf("%d bytes count", n)
		}
		e.accept(50)
		if n := e.write(message[:10]); n != 0 {
			t.Fatalf("%d bytes count", n)
		}
		e.accept(1 << 20)
		if n := e.write(message[:10]); n != len(message) {
			t.Errorf("%d bytes count, want %d", n, len(message))
		}
		if n := e.write([]byte("next")); n != 4 && n != 0 {
			t.Errorf("%d bytes count, want 4", n)
		}
		e.accept(0)
		if n := e.write(nil); n != 0 && n != 4 {
			t.Errorf("%d bytes count", n)
		}
		e.want(string(message) + "next")
	})
}

// A long message arrives whole, whatever is accepted at once. Only a bounded part of it is
// encrypted before that.
func TestWriteLong(t *testing.T) {
	testutil.Long(t)
	const records = transport.MaxAhead/1000 + 1 // of about a thousand bytes at least
	const bound = transport.MaxAhead + records*40
	for _, test := range []struct{ size, perCall int }{
		{3000, 1}, {70_000, 370}, {300_000, 10_000}, {1 << 20, 70_000}, {1 << 20, 0},
	} {
		t.Run(fmt.Sprint(test.size, " by ", test.perCall), func(t *testing.T) {
			message := pattern(test.size)
			overPolls(t, func(t *testing.T, e *ends) {
				e.poll.perCall = test.perCall
				for done := 0; done < len(message); {
					n := e.write(message[done:])
					if n < 0 || n > len(message)-done {
						t.Fatalf("%d bytes count of %d", n, len(message)-done)
					}
					done += n
					if unsent := e.near.Unsent(); unsent > bound {
						t.Fatalf("%d bytes are queued, want at most %d", unsent, bound)
					}
					e.accept(0)
				}
				e.want(string(message))
				if transport.KeepsBuffer(e.near) {
					t.Error("an idle connection keeps a buffer")
				}
			})
		})
	}
}

// Short parts become one record, and one call.
func TestWriteJoinsParts(t *testing.T) {
	for _, parts := range [][3]string{
		{"a", "b", "c"}, {"", "b", "c"}, {"a", "", "c"}, {"a", "b", ""}, {"", "", "c"}, {"abc", "", ""},
		{strings.Repeat("x", 400), strings.Repeat("y", 400), "z"},
	} {
		e := server13(t)
		whole := strings.Join(parts[:], "")
		n, err := e.near.Write([3][]byte{[]byte(parts[0]), []byte(parts[1]), []byte(parts[2])})
		if n != len(whole) || err != nil || e.poll.calls != 1 || wholeRecords(e.poll.out) != len(e.poll.out) {
			t.Errorf("%q: written %d, %v, by %d calls", parts, n, err, e.poll.calls)
		}
		const header = 5
		if size := len(e.poll.out); size > header+len(whole)+1+16 {
			t.Errorf("%q: %d bytes of ciphertext are more than one record", parts, size)
		}
		e.want(whole)
	}
	e := server13(t) // three parts that are too long for one step
	parts := [3][]byte{pattern(50_000), pattern(50_001), pattern(50_002)}
	if n, err := e.near.Write(parts); n != 150_003 || err != nil {
		t.Errorf("written %d, %v", n, err)
	}
	e.want(string(bytes.Join(parts[:], nil)))
}

func TestWriteNothing(t *testing.T) {
	e := server13(t)
	if n, err := e.near.Write([3][]byte{}); n != 0 || err != nil || e.poll.calls != 0 {
		t.Errorf("written %d, %v, by %d calls", n, err, e.poll.calls)
	}
}

// After a failed Write everything fails.
func TestWriteFails(t *testing.T) {
	overPolls(t, func(t *testing.T, e *ends) {
		e.poll.accepts = 10
		e.write(pattern(100))
		e.poll.writeErr = syscall.EPIPE
		for range 3 {
			if n, err := e.near.Write([3][]byte{pattern(100)}); n != 0 || !errors.Is(err, syscall.EPIPE) {
				t.Errorf("Write returned %d, %v", n, err)
			}
		}
		if !e.near.Acknowledged() {
			t.Error("what cannot be sent is waited for")
		}
	})
}

// The FIN comes after the close_notify, and that after what was written.
func TestCloseWrite(t *testing.T) {
	message := pattern(2000)
	overPolls(t, func(t *testing.T, e *ends) {
		e.poll.accepts = 10
		e.write(message)
		for range 2 {
			if err := e.near.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		for e.near.Unsent() > 0 {
			if e.poll.fin || e.near.Acknowledged() {
				t.Fatalf("%d bytes before the end: FIN sent: %v, acknowledged: %v", e.near.Unsent(), e.poll.fin, e.near.Acknowledged())
			}
			e.accept(10)
		}
		if !e.poll.fin || !e.near.Acknowledged() {
			t.Errorf("at the end: FIN sent: %v, acknowledged: %v", e.poll.fin, e.near.Acknowledged())
		}
		if got, err := e.received(); string(got) != string(message) || err != io.EOF {
			t.Errorf("the peer has read %d bytes, %v", len(got), err)
		}
		if len(e.poll.out) > 0 {
			t.Errorf("%d bytes follow the close_notify", len(e.poll.out))
		}
		// The other direction stays open.
		e.poll.arrive(e.records([]byte("late")))
		if got, err := e.readAll(100); string(got) != "late" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestCloseWriteAtOnce(t *testing.T) {
	e := server13(t)
	for range 2 {
		e.poll.fin = false
		if err := e.near.CloseWrite(); err != nil || !e.poll.fin {
			t.Errorf("FIN sent: %v, %v", e.poll.fin, err)
		}
	}
	if got, err := e.received(); len(got) > 0 || err != io.EOF {
		t.Errorf("the peer has read %q, %v", got, err)
	}
	if n, err := e.near.Write([3][]byte{[]byte("late")}); n != 0 || err == nil {
		t.Errorf("Write after CloseWrite returned %d, %v", n, err)
	}
}

// Close sends a close_notify, unless it sends a RST.
func TestClose(t *testing.T) {
	for _, reset := range []bool{false, true} {
		overKinds(t, func(t *testing.T, e *ends) {
			e.write([]byte("bye"))
			if reset {
				e.near.SetLinger(0)
			}
			e.near.Close()
			if !e.poll.closed || (e.poll.linger == 0) != reset {
				t.Errorf("closed: %v, linger %d", e.poll.closed, e.poll.linger)
			}
			// For crypto/tls both are io.EOF.
			records := countRecords(e.poll.out)
			if got, err := e.received(); string(got) != "bye" || err != io.EOF || (records == 1) != reset {
				t.Errorf("reset %v: the peer has read %q, %v in %d records", reset, got, err, records)
			}
		})
	}
}

// After Release the connection waits again. What was read and written on the poller comes first.
func TestRelease(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			e := handshake(t, kind.client, kind.version)
			e.use(newPoll(t))
			// In crypto/tls there is a record, and a part of one; the rest of that is at the
			// poller; one more is on the way.
			first, second, third := e.records([]byte("first,")), e.records([]byte("second,")), e.records([]byte("third"))
			e.poll.arrive(append(first, second[:20]...))
			if n, _, err := e.near.Read(make([]byte, 3)); n != 3 || err != nil {
				t.Fatalf("read %d bytes, %v", n, err)
			}
			e.poll.accepts = 30
			if n := e.write(pattern(100)); n > 0 {
				t.Fatalf("%d bytes count", n)
			}
			if e.poll.unread() > 0 {
				t.Fatal("the poller has input")
			}
			e.near.Release(second[20:])
			e.nearPipe.Write(e.poll.out) // was sent
			e.far.poll = nil             // the peer waits now

			conn := e.near.Conn()
			e.farPipe.Write(third)
			want := "st,second,third"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); string(got) != want || err != nil {
				t.Errorf("read %q, %v; want %q", got, err, want)
			}
			want = string(pattern(100)) + "after"
			if _, err := conn.Write([]byte("after")); err != nil {
				t.Error(err)
			}
			got = make([]byte, len(want))
			if _, err := io.ReadFull(e.peer, got); string(got) != want || err != nil {
				t.Errorf("the peer has read %q, %v; want %q", got, err, want)
			}
		})
	}
}

// Deadlines and addresses are those of the connection beneath.
func TestReleaseDeadlines(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	e := server13(t)
	conn := e.near.Conn()
	e.near.Release(nil)
	if conn.LocalAddr() != e.nearPipe.LocalAddr() || conn.RemoteAddr() != e.nearPipe.RemoteAddr() {
		t.Errorf("addresses %v and %v", conn.LocalAddr(), conn.RemoteAddr())
	}
	for range 2 {
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read returned %d, %v", n, err)
		}
	}
	conn.SetDeadline(time.Time{})
	e.far.poll = nil // both ends wait now
	go e.peer.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := conn.Write(pattern(1 << 20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write to a peer that does not read returned %v", err)
	}
	conn.Close()
	if _, err := e.nearPipe.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection beneath is not closed: %v", err)
	}
}

// accepting is a connection that accepts everything.
type accepting struct{ *poll }

func (accepting) Write(parts [3][]byte) (n int, err error) {
	for _, part := range parts {
		n += len(part)
	}
	return n, nil
}

// A message of several records needs memory for all of them until it is sent. That is not made
// anew for each message.
func TestWriteKeepsNoGarbage(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("a sync.Pool forgets, with the race detector")
	}
	e := handshake(t, false, tls.VersionTLS13)
	e.near.Use(accepting{newPoll(t)}, nil)
	message := [3][]byte{pattern(4), pattern(transport.MaxRecord)}
	const writes = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range writes {
		if n, err := e.near.Write(message); n != 4+transport.MaxRecord || err != nil {
			t.Fatalf("written %d, %v", n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / writes; each > transport.MaxRecord/4 {
		t.Errorf("%d bytes are allocated for each message", each)
	}
}

// A few bytes that wait are kept in a small buffer, also after many have waited.
func TestFewBytesWaitInASmallQueue(t *testing.T) {
	overPolls(t, func(t *testing.T, e *ends) {
		for _, message := range [][]byte{pattern(20 << 10), []byte("hello")} {
			e.poll.accepts = 0
			if n := e.write(message); n != 0 {
				t.Fatalf("%d bytes are written", n)
			}
			if n, few := e.near.QueueCap(), len(message) < 1<<10; n < len(message) || few && n > 4<<10 {
				t.Errorf("%d bytes wait in %d", len(message), n)
			}
			for e.near.Queued() {
				e.accept(1 << 20)
				e.near.Writable()
			}
			if n := e.write(message); n != len(message) || e.near.QueueCap() != 0 {
				t.Errorf("at the end %d bytes of %d are written, and %d kept", n, len(message), e.near.QueueCap())
			}
			e.want(string(message))
		}
	})
}
