package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"wireline/internal/eventloop"
	"wireline/internal/transport"
)

// Records arrive in pieces, or many at once. Each time the input is drained, everything that can
// be decrypted was returned, and the poller knows that the next input is a new event.
func TestReadInPieces(t *testing.T) {
	overKinds(t, func(t *testing.T, e *ends) {
		for _, size := range []int{1, 100, 4096, 64 << 10} {
			for _, step := range []int{1, 5, 6, 1000, 1 << 20} {
				parts := [][]byte{[]byte("a"), pattern(300), pattern(min(20*step, 20_000)), []byte("the end")}
				want := bytes.Join(parts, nil)
				for _, hasty := range []bool{false, true} {
					t.Run(fmt.Sprint(size, " ", step, " ", hasty), func(t *testing.T) {
						e.poll.hasty = hasty
						var stream []byte
						plain := map[int]int{} // by the length of the ciphertext
						sum := 0
						for _, part := range parts {
							stream = append(stream, e.records(part)...)
							sum += len(part)
							plain[len(stream)] = sum
						}
						var got []byte
						for at := 0; at < len(stream); at += step {
							upto := min(at+step, len(stream))
							e.poll.arrive(stream[at:upto])
							more, err := e.readAll(size)
							if err != nil {
								t.Fatal(err)
							}
							got = append(got, more...)
							if !e.poll.drained || e.poll.unread() > 0 {
								t.Fatalf("after %d bytes of %d: drained, but the poller has more", upto, len(stream))
							}
							whole := wholeRecords(stream[:upto])
							if partial := whole < upto; e.near.Partial() != partial {
								t.Fatalf("after %d bytes of %d: Partial is %v", upto, len(stream), !partial)
							}
							if n, ok := plain[whole]; ok && len(got) != n {
								t.Fatalf("after %d bytes of %d: read %d bytes, want %d", upto, len(stream), len(got), n)
							}
						}
						if !bytes.Equal(got, want) {
							t.Errorf("read %d bytes, want the %d that were sent", len(got), len(want))
						}
					})
				}
			}
		}
	})
}

// Two pieces, split at each byte.
func TestReadSplitAnywhere(t *testing.T) {
	parts := [][]byte{[]byte("hello, "), []byte("world")}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			e := handshake(t, kind.client, kind.version)
			e.use(newPoll(t))
			for at := 0; ; at++ {
				stream := e.records(parts...)
				if at > len(stream) {
					break
				}
				for _, piece := range [][]byte{stream[:at], stream[at:]} {
					e.poll.arrive(piece)
				}
				if got, err := e.readAll(5); string(got) != "hello, world" || err != nil {
					t.Fatalf("split at %d: read %q, %v", at, got, err)
				}
			}
		})
	}
}

// Arrived tells of ciphertext, also if it makes no plaintext yet.
func TestArrived(t *testing.T) {
	e := server13(t)
	stream := e.records([]byte("hello"))
	read := func(want bool, what string) {
		t.Helper()
		if _, err := e.readAll(100); err != nil || e.near.Arrived() != want {
			t.Errorf("%s: Arrived is %v, error %v", what, e.near.Arrived(), err)
		}
	}
	read(false, "nothing")
	for i := range stream {
		e.poll.arrive(stream[i : i+1])
		if n, _, err := e.near.Look(make([]byte, 100)); err != nil || !e.near.Arrived() || (n == 5) != (i == len(stream)-1) {
			t.Errorf("byte %d: read %d bytes, %v; Arrived is %v", i, n, err, e.near.Arrived())
		}
		read(false, "nothing more")
	}
}

// What the handshake has read beyond its end brings no event.
func TestUseWakes(t *testing.T) {
	e := handshake(t, false, kinds[0].version)
	e.peer.Write([]byte("early"))
	stream := make([]byte, 100)
	n, _ := e.nearPipe.Read(stream)
	p := newPoll(t)
	p.arrive(stream[:n])
	e.use(p)
	if p.woken != 1 {
		t.Errorf("woken %d times, want once", p.woken)
	}
	if ev := e.near.Ready(0); ev == 0 {
		t.Error("no input is reported")
	}
	if ev := e.near.Ready(0); ev != 0 {
		t.Error("the input is reported twice")
	}
	if got, err := e.readAll(100); string(got) != "early" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// A new poller tells of what has arrived already: until then nothing is read from it, but for a Look.
func TestReadWaitsForTheFirstEvent(t *testing.T) {
	for _, event := range []eventloop.Event{eventloop.In, eventloop.Hup, 0} {
		e := handshake(t, false, kinds[0].version)
		p := newPoll(t)
		e.use(p)
		transport.UseNew(e.near, p)
		p.arrive(e.records([]byte("hello")), e.records([]byte("again")))
		arrived := p.unread()
		e.near.Ready(eventloop.Woken)
		if got, err := e.readAll(100); len(got) > 0 || err != nil || p.unread() != arrived {
			t.Errorf("read %q, %v", got, err)
		}
		read := e.near.Read
		if event == 0 {
			read = e.near.Look
		}
		e.near.Ready(event)
		b := make([]byte, 5)
		if n, drained, err := read(b); string(b[:n]) != "hello" || drained || err != nil {
			t.Errorf("event %v: read %q, %v, drained: %v", event, b[:n], err, drained)
		}
		if got, err := e.readAll(100); string(got) != "again" || err != nil {
			t.Errorf("event %v: read %q, %v behind that", event, got, err)
		}
	}
}

// The end of the stream is told from one that anybody on the way could have made up.
func TestReadEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		want error
		// end makes the stream end, and returns what still arrives.
		end func(e *ends) []byte
	}{
		{"close_notify", io.EOF, func(e *ends) []byte { return e.closeNotify() }},
		{"close_notify and FIN", io.EOF, func(e *ends) []byte {
			e.poll.fail(io.EOF)
			return e.closeNotify()
		}},
		{"FIN", transport.ErrTruncated, func(e *ends) []byte {
			e.poll.fail(io.EOF)
			return nil
		}},
		{"FIN in a header", transport.ErrTruncated, func(e *ends) []byte {
			e.poll.fail(io.EOF)
			return e.records([]byte("lost"))[:3]
		}},
		{"FIN in a record", transport.ErrTruncated, func(e *ends) []byte {
			e.poll.fail(io.EOF)
			return e.records([]byte("lost"))[:10]
		}},
		{"FIN in a close_notify", transport.ErrTruncated, func(e *ends) []byte {
			e.poll.fail(io.EOF)
			return e.closeNotify()[:10]
		}},
		{"reset", syscall.ECONNRESET, func(e *ends) []byte {
			e.poll.fail(syscall.ECONNRESET)
			return e.records([]byte("lost"))[:10]
		}},
		{"reset that a Write was told of", syscall.ECONNRESET, func(e *ends) []byte {
			e.poll.writeErr = syscall.ECONNRESET
			if n, err := e.near.Write([3][]byte{[]byte("lost")}); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
				e.t.Errorf("Write returned %d, %v", n, err)
			}
			e.poll.fail(io.EOF)
			return nil
		}},
	} {
		for _, kind := range kinds {
			for _, apart := range []bool{false, true} {
				t.Run(fmt.Sprint(test.name, ", ", kind.name, ", ", apart), func(t *testing.T) {
					e := handshake(t, kind.client, kind.version)
					e.use(newPoll(t))
					stream := e.records([]byte("hello"))
					if apart {
						e.poll.arrive(stream)
						if got, err := e.readAll(100); string(got) != "hello" || err != nil {
							t.Fatalf("read %q, %v", got, err)
						}
						e.poll.arrive(test.end(e))
					} else {
						e.poll.arrive(append(stream, test.end(e)...))
						if n, drained, err := e.near.Read(make([]byte, 100)); n != 5 || drained || err != nil {
							t.Fatalf("read %d bytes, drained %v, %v", n, drained, err)
						}
					}
					if got, err := e.readAll(100); len(got) > 0 || !errors.Is(err, test.want) {
						t.Errorf("read %q, %v; want %v", got, err, test.want)
					}
					if test.want == transport.ErrTruncated && !errors.Is(transport.ErrTruncated, io.ErrUnexpectedEOF) {
						t.Error("ErrTruncated is no io.ErrUnexpectedEOF")
					}
				})
			}
		}
	}
}

// Changed ciphertext ends the connection with an alert. What comes after it is thrown away as
// it is.
func TestFlippedBits(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			const header = 5
			for at := header; ; at++ {
				e := handshake(t, kind.client, kind.version)
				e.use(newPoll(t))
				good, bad, after := e.records([]byte("good")), e.records([]byte("bad")), e.records([]byte("after"))
				if at == len(bad) {
					break
				}
				bad[at] ^= 1 << (at % 8)
				e.poll.arrive(good, bad, after)
				got, err := e.readAll(100)
				if string(got) != "good" || !errors.Is(err, transport.ErrProtocol) || !strings.Contains(err.Error(), "local error: tls: bad record MAC") {
					t.Fatalf("bit in byte %d: read %q, %v", at, got, err)
				}
				if _, err := e.received(); err == nil || err.Error() != "remote error: tls: bad record MAC" {
					t.Fatalf("bit in byte %d: the peer reads %v", at, err)
				}
				unread := e.poll.unread()
				if got, err := e.readAll(100); len(got) != unread || err != nil {
					t.Fatalf("after the error: read %d bytes of %d, %v", len(got), unread, err)
				}
				if e.near.CloseWrite(); len(e.poll.out) > 0 {
					t.Fatal("something was sent after the alert")
				}
			}
		})
	}
}

// Headers that are no headers end the connection, too.
func TestFlippedHeader(t *testing.T) {
	for bit := range 5 * 8 {
		e := server13(t)
		bad := e.records([]byte("bad"))
		bad[bit/8] ^= 1 << (bit % 8)
		e.poll.arrive(bad, e.records(pattern(70_000)))
		e.poll.fail(io.EOF)
		if got, err := e.readAll(100); len(got) > 0 || err == nil {
			t.Errorf("bit %d: read %d bytes, %v", bit, len(got), err)
		}
	}
}

func TestDiscard(t *testing.T) {
	e := server13(t)
	stream := e.records(pattern(1000))
	e.poll.arrive(stream)
	if n := e.near.Discard(100); n != 100 {
		t.Errorf("discarded %d bytes, want 100", n)
	}
	if n := e.near.Discard(1 << 20); n != len(stream)-100 {
		t.Errorf("discarded %d bytes, want %d", n, len(stream)-100)
	}
}

// After a Hup no further event comes: a Read is drained only when the poller has found nothing,
// also if what it found before was a part of a record.
func TestReadAfterHangup(t *testing.T) {
	e := server13(t)
	e.poll.hasty = true
	e.poll.arrive(e.records([]byte("lost"))[:10])
	e.near.Ready(eventloop.In | eventloop.Hup)
	p := hastyEnd{e.poll}
	e.near.Use(p, nil)
	if got, err := e.readAll(100); len(got) > 0 || err != transport.ErrTruncated {
		t.Errorf("read %q, %v; want the end", got, err)
	}
}

// hastyEnd is a poll whose Read says that everything was read when the end of the stream is all
// that is left, as a short read from a socket does.
type hastyEnd struct{ *poll }

func (h hastyEnd) Read(b []byte) (n int, drained bool, err error) {
	if n, drained, err = h.poll.Read(b); n == 0 {
		return 0, false, io.EOF
	}
	return n, drained, err
}

// What was read from the connection, and not by the handshake, comes before what the poller has.
func TestUseWithRest(t *testing.T) {
	e := handshake(t, false, kinds[0].version)
	e.far.poll = newPoll(t) // the peer's handshake is over
	stream := e.records([]byte("first "), []byte("second"))
	p := e.far.poll
	e.poll = p
	e.near.Use(p, stream[:10])
	if got, err := e.readAll(100); len(got) > 0 || err != nil || !e.near.Arrived() || !e.near.Partial() {
		t.Errorf("read %q, %v; Arrived is %v, Partial %v", got, err, e.near.Arrived(), e.near.Partial())
	}
	p.arrive(stream[10:])
	if got, err := e.readAll(100); string(got) != "first second" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
