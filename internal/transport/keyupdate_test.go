package transport_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"

	"wireline/internal/testutil"
	"wireline/internal/transport"
)

// The tests of this file send what crypto/tls never sends, over TLS 1.3.

// opened returns the data of the whole records that the poll has accepted, and how many
// KeyUpdates there were.
func (e *ends) opened(keys *testutil.RecordKeys) (data string, keyUpdates int) {
	e.t.Helper()
	e.poll.mu.Lock()
	out := e.poll.out
	n := wholeRecords(out)
	e.poll.out = out[n:]
	e.poll.mu.Unlock()
	for r := bytes.NewReader(out[:n]); r.Len() > 0; {
		kind, b, err := keys.Open(r)
		switch {
		case err != nil:
			e.t.Fatal(err)
		case kind == testutil.HandshakeRecord:
			keyUpdates++
		case kind == testutil.DataRecord:
			data += string(b)
		default:
			e.t.Fatalf("a record of type %d: %x", kind, b)
		}
	}
	return data, keyUpdates
}

// Both directions go on with new keys, in whatever pieces the KeyUpdate arrives.
func TestKeyUpdate(t *testing.T) {
	for _, requested := range []bool{false, true} {
		e := server13(t)
		in, out := e.keys()
		want := 0
		for range 5 {
			var stream []byte
			stream = append(stream, in.KeyUpdate(requested)...)
			stream = append(stream, in.Seal(testutil.DataRecord, []byte("hello"))...)
			var got []byte
			for i := range stream {
				e.poll.arrive(stream[i : i+1])
				more, err := e.readAll(100)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, more...)
			}
			if string(got) != "hello" {
				t.Errorf("read %q", got)
			}
			if requested {
				want++
			}
		}
		if n := e.write([]byte("answer")); n != 6 {
			t.Errorf("written %d bytes", n)
		}
		if data, updates := e.opened(out); data != "answer" || updates != want {
			t.Errorf("the peer has %q and %d KeyUpdates, want %d", data, updates, want)
		}
	}
}

// A handshake message may be split over records, and these over reads.
func TestKeyUpdateInTwoRecords(t *testing.T) {
	e := server13(t)
	in, out := e.keys()
	for _, part := range [][]byte{{24, 0}, {0, 1}, {1}} {
		stream := in.Seal(testutil.HandshakeRecord, part)
		e.poll.arrive(stream[:7])
		e.readAll(100)
		e.poll.arrive(stream[7:])
		if got, err := e.readAll(100); len(got) > 0 || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	in.Update()
	e.poll.arrive(in.Seal(testutil.DataRecord, []byte("hello")))
	if got, err := e.readAll(100); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, updates := e.opened(out); updates != 1 {
		t.Errorf("%d KeyUpdates, want 1", updates)
	}
}

// A KeyUpdate is answered although nobody writes: if the connection accepts nothing now, the
// answer is sent when it does.
func TestKeyUpdateAnsweredLater(t *testing.T) {
	for _, copies := range []bool{false, true} {
		e := server13(t)
		e.poll.copies = copies
		in, out := e.keys()
		e.poll.accepts = 3
		e.poll.arrive(in.KeyUpdate(true))
		if got, err := e.readAll(100); len(got) > 0 || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		for range 100 {
			e.accept(1)
		}
		if _, updates := e.opened(out); updates != 1 || e.near.Unsent() > 0 {
			t.Errorf("copies %v: %d KeyUpdates, want 1; %d bytes are unsent", copies, updates, e.near.Unsent())
		}
		if transport.KeepsBuffer(e.near) {
			t.Error("an idle connection keeps a buffer")
		}
	}
}

// Read answers KeyUpdates while other goroutines write, and are told that they can.
func TestKeyUpdateWhileWriting(t *testing.T) {
	for _, copies := range []bool{false, true} {
		e := server13(t)
		e.poll.copies = copies
		e.poll.accepts = 0
		in, out := e.keys()
		message := pattern(300_000)
		const updates = 1000

		var serving sync.Mutex // as the mu of a handler's client
		var writing sync.WaitGroup
		writing.Go(func() {
			for done := 0; done < len(message); {
				serving.Lock()
				done += e.write(message[done:min(len(message), done+10_000)])
				serving.Unlock()
			}
		})
		stop := make(chan struct{})
		writing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if e.poll.accept(1000) {
					serving.Lock()
					e.near.Writable()
					serving.Unlock()
				}
			}
		})
		for range updates {
			e.poll.arrive(in.KeyUpdate(true), in.Seal(testutil.DataRecord, []byte("x")))
			for got := 0; got == 0; {
				n, _, err := e.near.Read(make([]byte, 10))
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
		}
		data, n := "", 0
		testutil.Eventually(t, "everything arrives", func() bool {
			more, m := e.opened(out)
			data, n = data+more, n+m
			return n == updates && len(data) >= len(message)
		})
		close(stop)
		writing.Wait()
		if data != string(message) {
			t.Error("another message has arrived")
		}
	}
}

// flood makes KeyUpdates arrive that all want an answer, with a byte of data now and then: without
// that crypto/tls soon refuses them. It returns the data.
func (e *ends) flood(in *testutil.RecordKeys, updates int) (data string) {
	var stream bytes.Buffer
	for i := range updates {
		stream.Write(in.KeyUpdate(true))
		if i%10 == 9 {
			stream.Write(in.Seal(testutil.DataRecord, []byte{byte(i)}))
			data += string([]byte{byte(i)})
		}
	}
	e.poll.arrive(stream.Bytes())
	return data
}

// manyUpdates is more than what the queue may hold.
const manyUpdates = 3 * transport.MaxQueued / 2 / 27

// A peer that wants new keys again and again, and reads none of the answers, is not read for
// longer than the queue is short. When it reads them, it is served again.
func TestKeyUpdateFlood(t *testing.T) {
	testutil.Long(t)
	for _, size := range []int{10, 64 << 10} {
		for _, copies := range []bool{false, true} {
			if testutil.RaceEnabled && copies == (size == 10) {
				continue // each of them once is enough for the race detector
			}
			e := server13(t)
			e.poll.copies = copies
			e.poll.accepts = 0
			in, out := e.keys()
			want := e.flood(in, manyUpdates)
			got, err := e.readAll(size)
			if err != nil {
				t.Fatal(err)
			}
			if most := transport.MaxQueued + 4096; e.near.Unsent() > most {
				t.Errorf("reading %d bytes at once: %d bytes are queued, want at most %d", size, e.near.Unsent(), most)
			}
			unread := e.poll.unread()
			if unread == 0 {
				t.Fatal("everything was read")
			}
			if more, err := e.readAll(size); len(more) > 0 || err != nil || e.poll.unread() != unread {
				t.Errorf("read %d bytes more, %v", len(more), err)
			}
			updates := 0
			for range 100 { // the peer reads
				e.poll.woken = 0
				e.accept(100_000)
				_, n := e.opened(out)
				updates += n
				if e.poll.woken == 0 {
					continue
				}
				if ev := e.near.Ready(0); ev == 0 {
					t.Fatal("woken without input")
				}
				more, err := e.readAll(size)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, more...)
			}
			if string(got) != want || updates != manyUpdates {
				t.Errorf("read %d bytes, want %d; %d KeyUpdates, want %d", len(got), len(want), updates, manyUpdates)
			}
		}
	}
}

// The reset of such a peer is noticed.
func TestKeyUpdateFloodThenReset(t *testing.T) {
	e := server13(t)
	e.poll.accepts = 0
	in, _ := e.keys()
	e.flood(in, manyUpdates)
	if _, err := e.readAll(4096); err != nil {
		t.Fatal(err)
	}
	e.poll.mu.Lock()
	e.poll.in, e.poll.readErr, e.poll.writeErr, e.poll.woken = nil, io.EOF, syscall.ECONNRESET, 0
	e.poll.mu.Unlock()
	e.near.Writable()
	if e.poll.woken == 0 || e.near.Ready(0) == 0 {
		t.Error("the error of a write is not reported as input")
	}
	if got, err := e.readAll(4096); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// After CloseWrite nothing more is sent, and reading goes on: with new keys, and up to an error
// of the protocol.
func TestKeyUpdateAfterCloseWrite(t *testing.T) {
	for _, accepts := range []int{1 << 20, 5} { // the FIN is sent, or due
		e := server13(t)
		e.poll.accepts = accepts
		in, _ := e.keys()
		if err := e.near.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			e.poll.arrive(in.KeyUpdate(true), in.Seal(testutil.DataRecord, []byte("hello")))
			if got, err := e.readAll(100); string(got) != "hello" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		}
		bad := in.Seal(testutil.DataRecord, []byte("bad"))
		bad[10] ^= 1
		e.poll.arrive(bad)
		if got, err := e.readAll(100); len(got) > 0 || !errors.Is(err, transport.ErrProtocol) {
			t.Errorf("read %q, %v; want an error of the protocol", got, err)
		}
		e.accept(1 << 20)
		const closeNotify = 5 + 2 + 1 + 16
		if !e.poll.fin || len(e.poll.out) != closeNotify {
			t.Errorf("FIN sent: %v, after %d bytes; want a close_notify of %d only", e.poll.fin, len(e.poll.out), closeNotify)
		}
	}
}
